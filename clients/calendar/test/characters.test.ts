// @vitest-environment jsdom
/** What is left of what is typed or pasted. */

import { apply, lower } from "@collab/client/kernel";
import { expect, test } from "vitest";
import { fitLine, fitText, keepFit, withoutReturns } from "../src/characters.js";

test("control characters and halves of characters go; other programs' line breaks are line breaks", () => {
  expect(fitText("a\u0000b\u0007c\u007fd\u009fe")).toBe("abcde");
  expect(fitText("one\r\ntwo\rthree")).toBe("one\ntwo\nthree");
  expect(fitText("one\vtwo\fthree\u0085four\n\tfive")).toBe("one\ntwo\nthree\nfour\n\tfive");
  expect(fitText("\ud83ca\udf89 🎉 e\u0301")).toBe("a 🎉 e\u0301");
});

test("a line has spaces for breaks and tabs", () => {
  expect(fitLine("one\vtwo\tthree\u0007")).toBe("one two three");
});

test("what turns the direction stays where it is closed in its paragraph", () => {
  for (const text of ["\u2068שלום\u2069 (a)", "\u202b\u2066a\u2069\u202c", "a\u2069", "\u200f(a)"])
    expect(fitText(text)).toBe(text);
});

test("what turns the direction of all that follows goes", () => {
  expect(fitText("\u202aC:\\Users\nnext")).toBe("C:\\Users\nnext");
  expect(fitText("\u2066one\ntwo\u2069")).toBe("one\ntwo\u2069");
  expect(fitText("\u2066a \u202bb\u2069")).toBe("a b\u2069");
  expect(fitText("invoice\u202eexe.pdf\u202d")).toBe("invoiceexe.pdf");
});

test("CR LF becomes LF by deletions alone", () => {
  const edited = (text: string) => {
    const value = withoutReturns(text);
    expect(value.every((component) => typeof component !== "string")).toBe(true);
    return apply(text, lower(text, [{ op: "text", path: "", value, unit: "utf16" }], {}, null));
  };
  expect(edited("\r\n🎉\r\n\r\nb\r\n")).toBe("\n🎉\n\nb\n");
  expect(edited("one\ntwo\rthree\r\r\n")).toBe("one\ntwo\rthree\n");
  expect(withoutReturns("one\ntwo")).toEqual([]);
  expect(withoutReturns("\r\n".repeat(10_000))).toEqual([]);
});

test("the caret stays behind what it stood behind", () => {
  const kept = (before: string, after: string) => {
    const field = document.createElement("textarea");
    field.value = before + after;
    field.setSelectionRange(before.length, before.length);
    keepFit(field, fitText, false);
    return [field.value.slice(0, field.selectionEnd), field.value.slice(field.selectionEnd)];
  };
  expect(kept("\u2067ab\u0007", " c\u2069")).toEqual(["\u2067ab", " c\u2069"]);
  expect(kept("\u202aab", " c\nd")).toEqual(["ab", " c\nd"]);
  expect(kept("one\v\u0007", "\u0007")).toEqual(["one\n", ""]);
});
