/**
 * Many clients edit one event while the network, the server and their users do their worst: at the end every
 * edit is there, once, and all have the same document.
 */

import { type Client, createClient, memoryStore, type SharedDocument } from "@collab/client";
import { Gateway } from "../support/gateway.js";
import { until } from "../support/until.js";
import { FaultProxy, type FaultRates } from "./proxy.js";
import { generator } from "./random.js";

export interface TrialOptions {
  clients: number;
  edits: number;
  seed: number;
  /** The mean pause between a client's edits, in ms. */
  pauseMs: number;
  /** After so many edits an author goes offline, after as many more online again. */
  toggleEvery: number;
  rates: FaultRates;
  /** So many times the server is killed and started again. */
  kills: number;
}

export interface TrialResult {
  edits: number;
  editsOffline: number;
  /** Edits that aren't there at the end, or are there twice; of an author's settings of one member the last. */
  lost: number;
  lostOffline: number;
  repeated: number;
  differing: number;
  refused: number;
  conflicts: number;
  /** The share of edits that needed nobody's decision, in percent. */
  automaticPercent: number;
  /** Of the edits made offline that are looked for, the share that arrived, in percent. */
  offlineArrivedPercent: number;
  faults: Record<string, number>;
  versions: number;
  seconds: number;
}

interface Board {
  title: string;
  location: string;
  description: string;
  tags: string[];
}

/** An edit that is looked for at the end: a word in the text, a tag, or in the history what was set last. */
interface Mark {
  text: string;
  place: "description" | "tags" | "title" | "location";
  isOffline: boolean;
}

const isSet = ({ place }: Mark): boolean => place === "title" || place === "location";

const ID = "board";
/** Once the network is well everything has to arrive, on a slow machine too. */
const SETTLE_MS = 90_000;

class Author {
  marks: Mark[] = [];
  readonly client: Client;
  readonly document: SharedDocument<Board>;
  edits = 0;
  editsOffline = 0;
  refused = 0;
  conflicts = 0;
  isOffline = false;

  constructor(
    gateway: Gateway,
    url: string,
    private readonly name: string,
    private readonly random: () => number,
  ) {
    this.client = createClient({
      url,
      getToken: () => gateway.token(name),
      userId: name,
      store: memoryStore(),
    });
    this.client.onProblem((problem) => {
      if (problem.code === "EDIT_REFUSED") this.refused++;
    });
    this.document = this.client.open<Board>("event", ID);
    this.document.subscribe(() => this.#settleConflicts());
  }

  /** The author decides for what stands, and goes on. */
  #settleConflicts(): void {
    const [first] = this.document.snapshot.conflicts;
    if (!first) return;
    this.conflicts++;
    this.document.resolve(first.id, "mine");
  }

  #pick(count: number): number {
    return Math.floor(this.random() * count);
  }

  /** One edit: mostly a word typed somewhere, else a tag, else a member that others write as well. */
  edit(count: number): void {
    const kind = this.random();
    const text = `${this.name}.${count}`;
    if (kind < 0.6) {
      this.#type(`${text} `);
      this.#mark(text, "description");
    } else if (kind < 0.8) {
      this.document.edit({ op: "add", path: "/tags/-", value: text });
      this.#mark(text, "tags");
    } else this.#set(text, this.random() < 0.5 ? "title" : "location");
    this.edits++;
    if (this.isOffline) this.editsOffline++;
  }

  #mark(text: string, place: Mark["place"]): void {
    this.marks.push({ text, place, isOffline: this.isOffline });
  }

  /** What an author sets twice before it is sent goes once: the last one is looked for. */
  #set(text: string, place: "title" | "location"): void {
    this.document.set(`/${place}`, text);
    this.marks = this.marks.filter((mark) => mark.place !== place);
    this.#mark(text, place);
  }

  /** A word goes between words, so that it can be found again. */
  #type(word: string): void {
    const now = this.document.snapshot.view?.description ?? "";
    const at = now.lastIndexOf(" ", this.#pick(now.length + 1)) + 1;
    this.document.edit({ op: "text", path: "/description", value: [at, word], unit: "utf16" });
  }

  toggle(): void {
    this.isOffline = !this.isOffline;
    if (this.isOffline) this.client.disconnect();
    else this.client.connect();
  }

  /** The user's last offline time is over. */
  online(): void {
    if (this.isOffline) this.toggle();
  }
}

const sleep = (ms: number) => new Promise((done) => setTimeout(done, ms));

/** Authors take turns at being offline. */
async function write(author: Author, index: number, options: TrialOptions, random: () => number) {
  const { clients, edits, toggleEvery } = options;
  const turn = Math.floor((index * toggleEvery) / clients);
  for (let edit = 0; edit < edits; edit++) {
    author.edit(edit);
    if (edit % toggleEvery === turn) author.toggle();
    await sleep(random() * 2 * options.pauseMs);
  }
  author.online();
}

async function kill(gateway: Gateway, times: number, everyMs: number): Promise<void> {
  for (let count = 0; count < times; count++) {
    await sleep(everyMs);
    await gateway.kill();
    await gateway.run();
  }
}

export async function trial(options: TrialOptions): Promise<TrialResult> {
  const gateway = await Gateway.start();
  const random = generator(options.seed);
  const proxy = await FaultProxy.start(
    Number(new URL(gateway.url).port),
    generator(options.seed + 1),
    options.rates,
  );
  const startedAt = Date.now();
  const maker = new Author(gateway, gateway.url, "maker", random);
  const authors: Author[] = [];
  try {
    await maker.document.ready();
    maker.document.create({ title: "", location: "", description: "", tags: [] });
    await maker.document.saved();
    for (let count = 0; count < options.clients; count++) {
      authors.push(new Author(gateway, proxy.url, `c${count}`, random));
    }
    await Promise.all(authors.map((author) => author.document.ready()));
    const length = options.edits * options.pauseMs;
    const killing = kill(gateway, options.kills, length / (options.kills + 1));
    await Promise.all(authors.map((author, index) => write(author, index, options, random)));
    await killing;
    proxy.heal();
    for (const author of authors) author.client.connect();
    return await judged(authors, maker, proxy, startedAt);
  } finally {
    await Promise.all([maker, ...authors].map((author) => author.client.close()));
    await proxy.close();
    await gateway.close();
  }
}

async function judged(
  authors: Author[],
  maker: Author,
  proxy: FaultProxy,
  startedAt: number,
): Promise<TrialResult> {
  await Promise.all(
    authors.map((author) => until(author.document, (now) => now.isLive && !now.pending, SETTLE_MS)),
  );
  await until(maker.document, (now) => now.isLive);
  const version = Math.max(...authors.map((author) => author.document.snapshot.version));
  await Promise.all([...authors, maker].map((one) => until(one.document, (now) => now.version >= version)));
  const board = maker.document.snapshot.view as Board;
  const text = JSON.stringify(board);
  const words = counts(board.description.split(" "));
  const tags = counts(board.tags);
  const { entries } = await maker.document.history({ limit: version });
  const operations = JSON.stringify(entries.map((entry) => entry.operations));
  const marks = authors.flatMap((author) => author.marks);
  const found = (mark: Mark) => {
    if (isSet(mark)) return Number(operations.includes(JSON.stringify(mark.text)));
    return (mark.place === "tags" ? tags : words).get(mark.text) ?? 0;
  };
  const lost = marks.filter((mark) => found(mark) === 0);
  const sum = (value: (author: Author) => number) =>
    authors.reduce((total, author) => total + value(author), 0);
  const edits = sum((author) => author.edits);
  const offline = marks.filter((mark) => mark.isOffline).length;
  const lostOffline = lost.filter((mark) => mark.isOffline).length;
  const conflicts = sum((author) => author.conflicts);
  const refused = sum((author) => author.refused);
  const percent = (part: number, whole: number) => Math.round((10_000 * part) / Math.max(1, whole)) / 100;
  return {
    edits,
    editsOffline: sum((author) => author.editsOffline),
    lost: lost.length,
    lostOffline,
    repeated: marks.filter((mark) => found(mark) > 1).length,
    differing: authors.filter((author) => JSON.stringify(author.document.snapshot.view) !== text).length,
    refused,
    conflicts,
    automaticPercent: percent(edits - conflicts - refused, edits),
    offlineArrivedPercent: percent(offline - lostOffline, offline),
    faults: proxy.faults,
    versions: version,
    seconds: Math.round((Date.now() - startedAt) / 1000),
  };
}

function counts(words: readonly string[]): Map<string, number> {
  const result = new Map<string, number>();
  for (const word of words) result.set(word, (result.get(word) ?? 0) + 1);
  return result;
}
