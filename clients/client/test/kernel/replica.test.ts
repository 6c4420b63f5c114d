import { apply, GapError, type Json, type Operations, type Patch, Replica } from "@collab/client/kernel";
import { describe, expect, it } from "vitest";

const event = () => ({ title: "Tea", text: "abc", tags: ["a"], place: { city: "Ulm" } });
const typed = (at: number, text: string): Patch => [
  { op: "text", path: "/text", value: at ? [at, text] : [text] },
];
const titled = (value: string): Patch => [{ op: "replace", path: "/title", value }];

describe("a replica", () => {
  it("shares everything off the path of a remote edit, and has one document while nothing waits", () => {
    const replica = new Replica(event(), 3);
    const before = replica.document as ReturnType<typeof event>;
    replica.receive(4, titled("Coffee"));
    const after = replica.document as ReturnType<typeof event>;
    expect(after.title).toBe("Coffee");
    expect(before.title).toBe("Tea");
    expect(after.place).toBe(before.place);
    expect(after.tags).toBe(before.tags);
    expect(replica.view).toBe(replica.document);
  });

  it("keeps the view's identity when its own edit is acknowledged as it was sent", () => {
    const replica = new Replica(event(), 0);
    replica.edit(titled("Coffee"));
    const { view } = replica;
    const sent = replica.next();
    expect(sent).toEqual({ seq: 1, baseVersion: 0, patch: titled("Coffee") });
    replica.acknowledged(1, 1);
    expect(replica.view).toBe(view);
    expect(replica.document).toBe(view);
    expect(replica.isSettled).toBe(true);
  });

  it("has one submission in flight and sends what was typed meanwhile as one operation", () => {
    const replica = new Replica(event(), 0);
    replica.edit(titled("Coffee"));
    replica.next();
    for (const [index, letter] of [..."日😀x"].entries()) replica.edit(typed(index, letter), index > 0);
    expect(replica.next()).toBeNull();
    replica.acknowledged(1, 1);
    expect(replica.next()).toEqual({
      seq: 2,
      baseVersion: 1,
      patch: [{ op: "text", path: "/text", value: ["日😀x"] }],
    });
  });

  it("sends an edit as it was written where the strategies make it too many operations", () => {
    const tags = Array.from({ length: 1000 }, (_, index) => `t${index}`);
    const replica = new Replica({ ...event(), tags }, 0, { strategies: { "/tags": "set" } });
    const written: Patch = [{ op: "replace", path: "/tags", value: [] }, ...titled("Coffee")];
    replica.edit(written);
    expect(replica.next()?.patch).toEqual(written);
    expect(replica.view).toEqual({ ...event(), tags: [], title: "Coffee" });
  });

  it("undoes what was joined at once, and redoes it", () => {
    const replica = new Replica(event(), 0);
    replica.edit(titled("Coffee"));
    replica.edit(typed(0, "x"));
    replica.edit(typed(1, "y"), true);
    expect(replica.takeBack("undo")).toBe(true);
    expect(replica.view).toEqual({ ...event(), title: "Coffee" });
    expect(replica.takeBack("redo")).toBe(true);
    expect(replica.view).toEqual({ ...event(), title: "Coffee", text: "xyabc" });
    replica.takeBack("undo");
    replica.takeBack("undo");
    expect(replica.view).toEqual(event());
    expect(replica.takeBack("undo")).toBe(false);
  });

  it("has nothing to undo of what was typed and taken out again in one go", () => {
    const replica = new Replica(event(), 0);
    replica.edit(titled("Coffee"));
    replica.edit(typed(0, "x"));
    replica.edit([{ op: "text", path: "/text", value: [{ d: 1 }] }], true);
    expect(replica.undoStacks.undo).toHaveLength(1);
    replica.edit(typed(0, "y"), true);
    replica.takeBack("undo");
    expect(replica.view).toEqual({ ...event(), title: "Coffee" });
    replica.takeBack("undo");
    expect(replica.view).toEqual(event());
  });

  it("leaves what it added to what only grows, and takes back the rest, or an older edit", () => {
    const replica = new Replica(event(), 0, { strategies: { "/tags": "grow" } });
    const tagged = (tag: string): Patch => [{ op: "add", path: "/tags/-", value: tag }];
    replica.edit(titled("Coffee"));
    replica.edit([...tagged("b"), ...titled("Cocoa"), ...tagged("c")]);
    replica.edit(tagged("d"));
    replica.edit(tagged("e"), true);
    const tags = ["a", "b", "c", "d", "e"];
    replica.takeBack("undo");
    expect(replica.view).toEqual({ ...event(), title: "Coffee", tags });
    replica.takeBack("undo");
    expect(replica.view).toEqual({ ...event(), tags });
    expect(replica.takeBack("undo")).toBe(false);
    while (replica.takeBack("redo"));
    expect(replica.view).toEqual({ ...event(), title: "Cocoa", tags });
  });

  it("undoes what stands among what stays in what only grows, where it is by then", () => {
    const replica = new Replica({ seen: [{ id: 1, note: "" }], n: 1 }, 0, {
      strategies: { "/seen": { grow: "id" } },
    });
    replica.edit([{ op: "replace", path: "/seen/0/note", value: "mine" }]);
    replica.edit([
      { op: "add", path: "/seen/0", value: { id: 2 } },
      { op: "replace", path: "/seen/1/note", value: "again" },
    ]);
    replica.takeBack("undo");
    expect(replica.view).toEqual({ seen: [{ id: 2 }, { id: 1, note: "mine" }], n: 1 });
    replica.takeBack("undo");
    expect(replica.view).toEqual({ seen: [{ id: 2 }, { id: 1, note: "" }], n: 1 });
    expect(replica.takeBack("undo")).toBe(false);
  });

  it("puts back an item that was replaced in what only grows, beside one that stays", () => {
    const replica = new Replica({ list: [{ id: 1, note: "x" }] }, 0, {
      strategies: { "/list": { grow: "id" } },
    });
    replica.edit([
      { op: "add", path: "/list/0", value: { id: 1, note: "y" } },
      { op: "add", path: "/list/-", value: { id: 2 } },
    ]);
    replica.takeBack("undo");
    expect(replica.view).toEqual({ list: [{ id: 1, note: "x" }, { id: 2 }] });
    replica.takeBack("redo");
    expect(replica.view).toEqual({ list: [{ id: 1, note: "y" }, { id: 2 }] });
  });

  it("undoes the making of a document in which something only grows", () => {
    const replica = new Replica(null, 0, { strategies: { "/tags": "grow" } });
    replica.edit([{ op: "add", path: "", value: event() }]);
    replica.takeBack("undo");
    expect(replica.view).toBeNull();
  });

  it("leaves in place what somebody wrote after what is undone", () => {
    const replica = new Replica(event(), 0);
    replica.edit(titled("Coffee"));
    replica.acknowledged(replica.next()?.seq ?? 0, 1);
    replica.receive(2, titled("Cocoa"));
    replica.takeBack("undo");
    expect((replica.view as { title: string }).title).toBe("Cocoa");
  });

  it("takes over what the server made of its edit, and tells nothing twice", () => {
    const replica = new Replica(event(), 0);
    replica.edit(titled("<b>Coffee</b>"));
    replica.next();
    replica.edit(typed(3, "d"));
    replica.acknowledged(1, 1, titled("Coffee"));
    expect(replica.view).toEqual({ ...event(), title: "Coffee", text: "abcd" });
    replica.receive(1, titled("Cocoa")); // known
    expect(replica.document).toEqual({ ...event(), title: "Coffee" });
  });

  it("says when versions are missing, and is unchanged then", () => {
    const replica = new Replica(event(), 3);
    expect(() => replica.receive(5, titled("Coffee"))).toThrow(GapError);
    expect(replica.document).toEqual(event());
  });

  it("withdraws what was refused, and keeps what came after it", () => {
    const replica = new Replica(event(), 0);
    replica.edit(titled("Coffee"));
    replica.next();
    replica.edit(typed(0, "x"));
    replica.withdraw();
    expect(replica.view).toEqual({ ...event(), text: "xabc" });
    expect(replica.next()?.patch).toEqual(typed(0, "x"));
  });

  it("gives up an edit whose test fails on what others wrote", () => {
    const replica = new Replica(event(), 0);
    replica.edit(typed(0, "x"));
    replica.next();
    replica.edit([{ op: "test", path: "/title", value: "Tea" }, ...titled("Coffee")]);
    replica.receive(1, titled("Cocoa"));
    replica.acknowledged(1, 2);
    expect(replica.next()).toBeNull();
    expect(replica.refused).toHaveLength(1);
    expect((replica.view as { title: string }).title).toBe("Cocoa");
  });

  it("is saved as JSON and goes on from there", () => {
    const replica = new Replica(event(), 0);
    replica.edit(titled("Coffee"));
    const sent = replica.next();
    replica.edit(typed(0, "x"));
    replica.receive(1, [{ op: "add", path: "/tags/-", value: "b" }]);
    const opened = Replica.from(JSON.parse(JSON.stringify(replica)));
    expect(opened.view).toEqual(replica.view);
    expect(opened.inFlight).toEqual(sent);
    opened.acknowledged(1, 2);
    expect(opened.next()).toMatchObject({ seq: 2, baseVersion: 2, patch: typed(0, "x") });
  });

  it("brings a submission whose base is too old to the present version", () => {
    const replica = new Replica(event(), 0);
    replica.edit(typed(3, "d"));
    replica.next();
    replica.receive(1, typed(0, "__"));
    expect(replica.resubmit()).toEqual({ seq: 1, baseVersion: 1, patch: typed(5, "d") });
    expect(() => replica.acknowledged(1, 2)).toThrow(GapError); // which of the two?
  });

  it("leaves the others of what it resubmits where the test of one fails", () => {
    const replica = new Replica(event(), 0);
    replica.edit(typed(3, "d"));
    replica.edit([{ op: "test", path: "/title", value: "Tea" }, ...titled("Coffee")]);
    expect(replica.next()?.patch).toHaveLength(3);
    replica.receive(1, titled("Cocoa"));
    expect(replica.resubmit()).toMatchObject({ baseVersion: 1, patch: typed(3, "d") });
    expect(replica.refused).toMatchObject([{ error: { code: "CONFLICT" } }]);
    expect(replica.view).toMatchObject({ title: "Cocoa", text: "abcd" });
  });

  it("can undo an edit with a test after an answer that names no patch", () => {
    const replica = new Replica(event(), 0);
    replica.edit([{ op: "test", path: "/title", value: "Tea" }, ...titled("Coffee")]);
    replica.next();
    replica.edit(titled("Cocoa"));
    replica.acknowledged(1, 1);
    expect(replica.next()).toEqual({ seq: 2, baseVersion: 1, patch: titled("Cocoa") });
    replica.takeBack("undo");
    expect(replica.view).toMatchObject({ title: "Coffee" });
  });

  it("merges a whole state into what waits", () => {
    const replica = new Replica(event(), 0);
    replica.edit(typed(3, "d"));
    replica.next();
    replica.edit(titled("Coffee"));
    replica.included();
    replica.reload({ ...event(), text: "__abcd", place: {} }, 40);
    expect(replica.view).toEqual({ ...event(), title: "Coffee", text: "__abcd", place: {} });
    expect(replica.next()).toEqual({ seq: 2, baseVersion: 40, patch: titled("Coffee") });
  });

  it("predicts what strategies do with a value", () => {
    const replica = new Replica(event(), 0, { strategies: { "/text": "text", "/tags": "set" } });
    replica.edit([{ op: "replace", path: "/text", value: "abXc" }]);
    replica.edit([{ op: "add", path: "/tags/-", value: "a" }]);
    expect(replica.next()?.patch[0]).toEqual({ op: "text", path: "/text", value: [2, "X"] });
    expect((replica.view as { tags: Json }).tags).toEqual(["a"]);
  });
});

describe("a document", () => {
  it("has members of any name", () => {
    const made: Operations = [["set", ["__proto__"], { polluted: true }]];
    const after = apply(JSON.parse('{"constructor": 1}'), made);
    expect(JSON.stringify(after)).toBe('{"constructor":1,"__proto__":{"polluted":true}}');
    expect(({} as { polluted?: boolean }).polluted).toBeUndefined();
    expect(apply(after, [["rem", ["__proto__"]]])).toEqual({ constructor: 1 });
  });
});
