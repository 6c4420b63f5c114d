/** The Chromium of the stories. It is made ready before any of them begins: two that unpacked it at once met half of it. */

import chromium from "@sparticuz/chromium";

/** Where it is: a machine's own, where CHROMIUM names one; else the one that came with the packages. */
export const browserPath = async (): Promise<string> =>
  process.env.CHROMIUM ?? (await chromium.executablePath());

export async function setup(): Promise<void> {
  await browserPath();
}
