// What every client is given: an event of the calendar, and somebody's edits of its description.

export const EVENTS = 200;
export const EDITS = 10_000;

const LOREM = "Bring your laptop, and cake if you like. We meet at the back door; ring twice and wait a moment. ";

export const event = (number = 0) => ({
  title: `Planning ${number}`,
  start_time: "2026-03-02T09:00:00Z",
  end_time: "2026-03-02T10:00:00Z",
  location: "Room 4",
  description: LOREM.repeat(20),
  tags: ["planning", "team"],
  attendees: Array.from({ length: 8 }, (_, index) => ({
    user_id: `user-${index}`,
    email: `user-${index}@example.org`,
    response_status: "ACCEPTED",
  })),
});

// Mulberry32: the same edits for everybody, in every run.
function generator(seed) {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}

/** Somebody types: words here and there, one character an edit, one in six taken back. */
export function typing(count = EDITS) {
  const random = generator(17);
  const edits = [];
  let length = event().description.length;
  let at = 0;
  for (let index = 0; index < count; index++) {
    if (index % 40 === 0) at = Math.floor(random() * length);
    if (at > 0 && random() < 1 / 6) {
      at--;
      length--;
      edits.push({ at, removed: 1 });
    } else {
      edits.push({ at, inserted: "abcdefgh "[Math.floor(random() * 9)] });
      at++;
      length++;
    }
  }
  return edits;
}

export function typed(text, edits) {
  let result = text;
  for (const { at, inserted = "", removed = 0 } of edits) {
    result = result.slice(0, at) + inserted + result.slice(at + removed);
  }
  return result;
}

/** Macrotasks pass, timers of no delay included. */
export const turn = () => new Promise((resolve) => setTimeout(resolve, 0));

export async function until(condition) {
  for (let turns = 0; !condition(); turns++) {
    if (turns > 20_000) throw new Error("the client doesn't settle");
    await turn();
  }
}
