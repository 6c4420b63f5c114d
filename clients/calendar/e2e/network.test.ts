/** The calendar where the network, or the token, ends while people type. */

import { expect, test } from "vitest";
import type { Person } from "./people.js";
import { Stage } from "./stage.js";

const MINUTE_MS = 60_000;
const TOKEN_TTL_S = 12;
const EXPIRING_S = 10; // there is as long to renew one
/** None is renewed sooner than its notice comes: after so many the first has ended. */
const RENEWALS = TOKEN_TTL_S / (TOKEN_TTL_S - EXPIRING_S);

const stage = new Stage({ "timeouts.token_expiring_s": EXPIRING_S });

/** Somebody types until `end` is called, which gives what was typed; `more` waits for so many more letters. */
function typist(person: Person, letter: string) {
  let isOver = false;
  let typed = "";
  const typing = (async () => {
    for (let key = 0; !isOver; key++) {
      const character = key % 10 ? letter : String(Math.floor(key / 10) % 10);
      await person.page.keyboard.press(character);
      typed += character;
      await person.page.waitForTimeout(100);
    }
    return typed;
  })();
  const more = async (letters: number) => {
    const least = typed.length + letters;
    await expect.poll(() => typed.length, { timeout: MINUTE_MS }).toBeGreaterThanOrEqual(least);
  };
  const end = () => {
    isOver = true;
    return typing;
  };
  return { more, end };
}

test(
  "the network is cut for a minute while both type: everything is there afterwards, once",
  async () => {
    const network = await stage.network();
    const [ann, bob] = await stage.together("Lunch");
    await ann.textbox("Description").fill("[] []");
    await bob.sees("Description", "[] []");
    await ann.putCaret("Description", 1);
    await bob.putCaret("Description", 4);
    const [one, other] = [typist(ann, "a"), typist(bob, "b")];
    await Promise.all([one.more(10), other.more(10)]);
    network.cutNetwork();
    await ann.page.waitForTimeout(MINUTE_MS);
    expect(await ann.sync.textContent()).not.toContain("online"); // both have noticed
    expect(await bob.sync.textContent()).not.toContain("online");
    network.heal();
    await Promise.all([one.more(10), other.more(10)]);
    const expected = `[${await one.end()}] [${await other.end()}]`;
    expect(expected.length).toBeGreaterThan(200);
    await Promise.all([ann, bob].map((person) => person.says("online, saved", MINUTE_MS)));
    await Promise.all([ann, bob].map((person) => person.sees("Description", expected, MINUTE_MS)));
  },
  5 * MINUTE_MS,
);

test("a page whose address may not connect can read why", async () => {
  const ann = await stage.arrive("Ann");
  const elsewhere = "http://elsewhere.test/";
  await ann.context.route(elsewhere, (route) => route.fulfill({ contentType: "text/html", body: "" }));
  await ann.page.goto(elsewhere);
  const closing = await ann.page.evaluate(
    (url) =>
      new Promise((resolve) => {
        new WebSocket(url, ["collab.v1"]).onclose = ({ code, reason }) => resolve([code, reason]);
      }),
    stage.gateway.url,
  );
  expect(closing).toEqual([4403, "origin"]);
});

/** From now on signing in gives this person tokens of a few seconds; gives how many, and how many sockets were opened. */
async function withShortTokens(
  person: Person,
): Promise<{ tokens: number; sockets: number; isRefused: boolean }> {
  const count = { tokens: 0, sockets: 0, isRefused: false };
  person.page.on("websocket", () => count.sockets++);
  await person.page.route("**/demo/sign-in", async (route) => {
    if (count.isRefused) return route.fulfill({ status: 503, json: { detail: "no sign-in now" } });
    count.tokens++;
    const token = stage.gateway.token(person.name, { ttlS: TOKEN_TTL_S });
    return route.fulfill({ json: { token, user_id: person.name, name: person.name } });
  });
  await person.page.reload();
  await person.says("online, saved");
  return count;
}

test("tokens end while somebody types: each is renewed in time, on the same connection", async () => {
  const [ann, bob] = await stage.together("Lunch");
  const count = await withShortTokens(ann);
  const { sockets, tokens } = count;
  await ann.textbox("Description").click();
  const typing = typist(ann, "a");
  await expect.poll(() => count.tokens - tokens, { timeout: MINUTE_MS }).toBeGreaterThanOrEqual(RENEWALS);
  await typing.more(10);
  const typed = await typing.end();
  await bob.sees("Description", typed);
  await ann.says("online, saved");
  expect(count.sockets).toBe(sockets);
});

test("a token ends and there is no other for a while: what is typed meanwhile arrives when there is", async () => {
  const [ann, bob] = await stage.together("Lunch");
  const count = await withShortTokens(ann);
  count.isRefused = true;
  await ann.textbox("Description").click();
  const typing = typist(ann, "a");
  await ann.says("offline", MINUTE_MS);
  await typing.more(20);
  count.isRefused = false;
  await ann.says("online");
  const typed = await typing.end();
  await bob.sees("Description", typed);
  await ann.says("online, saved");
  expect(await ann.button("Dismiss").count()).toBe(0); // the status said it, and there is nothing to do about it
});
