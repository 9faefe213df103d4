/**
 * Functions that misbehave in every way a user's code can, and what is promised to those who call them.
 *
 * misbehaviour.py is the same in Python.
 */

import { createReadStream } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";

import { type Bridge, CallTimeout, EncodeError, MessageTooLarge, RemoteError } from "@shm-polyglot/protocol";

import { type Call, TIMEOUT_MS, token } from "./questions";

const WAYS: readonly string[] = ["raises", "returns", "streams", "sleeps", "overflows"];
const SHORT_MS = 200;
const LONGEST_SLEEP_MS = 100;
const TAKEN = 20;

/** Whether a lane of this shape asks functions that misbehave. */
export function misbehaves(shape: string): boolean {
  return WAYS.includes(shape);
}

/**
 * Asks a function that misbehaves, and tells whether what came of it is as promised.
 *
 * Rejects with what the call rejects with if that blames anybody but the function.
 */
export async function askMisbehaving(bridge: Bridge, way: string, question: number): Promise<boolean> {
  if (way === "streams") return readStream(bridge, question);
  const timeoutMs = way === "sleeps" && question % 4 === 0 ? SHORT_MS : TIMEOUT_MS;
  let answer: unknown;
  try {
    answer = await bridge.call(`misbehaving.${way}`, [question], { timeoutMs });
  } catch (error) {
    if (isTold(error)) return way !== "sleeps";
    if (error instanceof CallTimeout && timeoutMs === SHORT_MS) return true;
    throw error;
  }
  return way === "returns" || way === "overflows" || (way === "sleeps" && answer === token(question));
}

/** What the caller of a function that misbehaves is told. Anything else is a fault: the function is to blame. */
function isTold(error: unknown): boolean {
  return error instanceof RemoteError || error instanceof EncodeError || error instanceof MessageTooLarge;
}

/** Some read to the end, some close early, some take no stream where there is one. */
async function readStream(bridge: Bridge, question: number): Promise<boolean> {
  let number = 0;
  try {
    if (question % 5 === 0) {
      await bridge.call("misbehaving.streams", [question], { timeoutMs: TIMEOUT_MS });
      return false;
    }
    for await (const item of bridge.stream("misbehaving.streams", [question], { timeoutMs: TIMEOUT_MS })) {
      if (item !== token(question + number++)) return false;
      if (number > question % TAKEN) break;
    }
  } catch (error) {
    if (!isTold(error)) throw error;
  }
  return true;
}

// What throws when it is looked at.

function refuse(): never {
  const thrown: readonly unknown[] = [new Error("a hook"), undefined, "a text", Symbol("thrown"), Object.create(null), revoked()];
  throw thrown[Math.floor(Math.random() * thrown.length)];
}

const REFUSING = new Proxy<ProxyHandler<object>>({}, { get: () => refuse });

/** Lets nobody look at anything. */
function opaque(target: object = {}): object {
  return new Proxy(target, REFUSING);
}

function revoked(): object {
  const { proxy, revoke } = Proxy.revocable({}, {});
  revoke();
  return proxy;
}

function withGetters(target: object, ...names: readonly string[]): object {
  for (const name of names) Object.defineProperty(target, name, { get: refuse, enumerable: true });
  return target;
}

class OtherLength extends Map<string, number> {
  override *[Symbol.iterator](): MapIterator<[string, number]> {
    for (let n = 0; n < 3; n++) yield [`key ${n}`, n];
    return undefined;
  }
}

class Endless extends Array<number> {
  override *[Symbol.iterator](): ArrayIterator<number> {
    for (let n = 0; ; n++) yield n;
  }
}

function locked(): ReadableStream {
  const stream = new ReadableStream();
  stream.getReader();
  return stream;
}

function cycle(): object {
  const made: Record<string, unknown> = {};
  made["self"] = [made];
  return made;
}

function deep(depth: number): unknown {
  let made: unknown[] = [];
  for (let n = 0; n < depth; n++) made = [made];
  return made;
}

function linked(): Error {
  const error = new Error("its cause is caused by it");
  error.cause = new Error("the cause", { cause: error });
  return error;
}

const THROWN: readonly (() => unknown)[] = [
  () => withGetters(new Error("plain"), "data"),
  () => withGetters(new Error("plain"), "message"),
  () => withGetters(new Error("plain"), "stack", "name", "cause"),
  () => withGetters(new AggregateError([]), "errors"),
  () => opaque(new Error("plain")),
  () => opaque(() => 0),
  revoked,
  linked,
  () => new AggregateError([revoked(), linked(), undefined], "several"),
  () => undefined,
  () => null,
  () => Symbol("thrown"),
  () => 2n ** 80n,
  () => Object.create(null) as object,
  () => Object.assign(new Error("x".repeat(3_000_000)), { data: { more: "x".repeat(100_000) } }),
  () => Object.assign(new Error("with data that cannot be sent"), { data: cycle() }),
  () => new Error("\ud800"),
];

const VALUES: readonly (() => unknown)[] = [
  () => opaque(),
  () => opaque([]),
  () => ({ deep: [withGetters({}, "a")] }),
  () => withGetters({}, "then"),
  () => withGetters({}, "toJSON", "next", "constructor"),
  revoked,
  () => new OtherLength([["a", 1]]),
  () => Endless.from([1, 2]),
  locked,
  cycle,
  () => deep(5000),
  () => new Date(NaN),
  () => 2n ** 200n,
  () => "\udc80",
  () => Symbol("returned"),
  () => refuse,
  () => new WeakMap(),
  () => ({ then: (_: unknown, reject: (reason: unknown) => void) => { reject(revoked()); } }),
  () => ({ then: refuse }),
  () => sleep(1).then(() => opaque()),
];

function chosen<Case>(cases: readonly (() => Case)[], question: number): Case {
  const choose = cases[question % cases.length];
  if (choose === undefined) throw new RangeError(`question ${question} has no case`);
  return choose();
}

/** What Node exposes as `misbehaving`. `callBack` calls whoever made the call that is being served. */
export function misbehaving(callBack: Call): Record<string, (question: number) => unknown> {
  return {
    /** Throws what cannot be told of, at once or later. */
    raises(question) {
      if (question % 2 === 0) throw chosen(THROWN, question);
      return sleep(question % 5).then(() => { throw chosen(THROWN, question); });
    },
    /** Returns what cannot be sent. */
    returns: (question) => chosen(VALUES, question),
    /** Gives right items for some time; then throws, or gives what cannot be sent, or goes on for ever, and ends badly. */
    streams: (question) => (question % 13 === 0 ? createReadStream("/nowhere/at all") : items(question)),
    /** Sleeps, or never ends, or asks the one who asked. */
    async sleeps(question) {
      if (question % 4 === 0) return new Promise(() => undefined);
      if (question % 2 === 0) await sleep((question % 97) / 97 * LONGEST_SLEEP_MS);
      return question % 2 === 0 ? token(question) : callBack("peer.answer", [question]);
    },
    /** Answers with more than its caller takes, or an error of that size, in many scripts. */
    overflows(question) {
      const text = ["x", "é", "漢", "\u{1f600}"][question % 4]?.repeat(Math.floor(question / 4) % 3000);
      if (question % 2 === 1) throw Object.assign(new Error(text), { data: [text, text] });
      return { text };
    },
  };
}

async function* items(question: number): AsyncGenerator {
  const good = Math.floor(question / 7) % 40;
  try {
    for (let number = 0; ; number++) {
      if (number === good && question % 3 === 0) throw chosen(THROWN, question);
      if (number === good && question % 3 === 1) yield opaque();
      yield token(question + number);
      if (number % 8 === 0) await sleep(0);
    }
  } finally {
    if (question % 2 === 0) await sleep(10);
    // eslint-disable-next-line no-unsafe-finally -- it is meant
    if (question % 11 === 0) throw chosen(THROWN, question);
  }
}
