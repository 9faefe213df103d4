/**
 * Provokes the faults of `faults.py` in TypeScript, and serves the same functions. What each fault says goes to stdout as
 * one line of JSON, once a Python worker is attached; this goes on until stdin ends.
 */

import { readFileSync } from "node:fs";
import { join } from "node:path";

import { type Bridge, type CallOptions, type Exposables, listen, type StreamOptions } from "@shm-polyglot/protocol";

import { type FrameSink, readFrame } from "../../shm_protocol/node/dist/frames";
import { decodeAnswer, decodeHello } from "../../shm_protocol/node/dist/handshake";
import { decode, Decoder } from "../../shm_protocol/node/dist/values";

class Boom extends Error {}
class Thing {
  private readonly hidden = true;
  get isHidden(): boolean {
    return this.hidden;
  }
}

const never = new Promise<never>(() => undefined);

const functions = {
  echo: (value: unknown) => value,
  count: function* (to: number) {
    for (let number = 0; number < to; number++) yield number;
  },
  stall: () => never,
  async *stallBetween() {
    yield 1;
    yield await never;
  },
  unsendable: () => ({ items: [1, 2, 3, () => undefined] }),
  text: (length: number) => "x".repeat(length),
};

function nested(depth: number): unknown {
  let value: unknown = 1;
  for (let level = 0; level < depth; level++) value = [value];
  return value;
}

async function said(provoke: () => unknown): Promise<string> {
  try {
    return `no error, but ${String(await provoke())}`;
  } catch (error) {
    return (error as Error).message;
  }
}

async function items(bridge: Bridge, method: string, args: unknown[], options: StreamOptions): Promise<void> {
  const stream = bridge.stream(method, args, options);
  while ((await stream.next()).done !== true);
}

const VALUES: Record<string, () => unknown> = {
  "a function": () => [1, () => undefined],
  "an object of a class": () => ({ at: new Thing() }),
  "an int that is too large": () => [2n ** 64n],
  "an int that is too small": () => [-(2n ** 63n) - 1n],
  "a lone surrogate": () => ({ text: "ab\ud800" }),
  "a key that cannot be one": () => new Map([[new Thing(), 1]]),
  "too deep": () => nested(600),
  "a time out of range": () => [new Date(8.64e15)],
  "a value that raises": () => ({ get at() { throw new Boom("boom"); } }),
  "too many values": () => Array.from({ length: 1_048_577 }, () => 1),
  "too large a message": () => new Uint8Array(100_000),
};

const OPTIONS: Record<string, [kind: "call" | "stream", method: unknown, options: unknown]> = {
  "credit of 0": ["stream", "functions.count", { credit: 0 }],
  "too much credit": ["stream", "functions.count", { credit: 65_537 }],
  "credit that is text": ["stream", "functions.count", { credit: "1" }],
  "a timeout of 0": ["call", "functions.echo", { timeoutMs: 0 }],
  "a timeout below 0": ["call", "functions.echo", { timeoutMs: -1 }],
  "a timeout that is text": ["call", "functions.echo", { timeoutMs: "1" }],
  "a traceparent that is a number": ["call", "functions.echo", { traceparent: 5 }],
  "a method that is a number": ["call", 5, {}],
  "a method without a name": ["call", "", {}],
  "a method with too long a name": ["call", "é".repeat(129), {}],
  "a method that is not there": ["call", "functions.missing", {}],
  "a call of a stream": ["call", "functions.count", {}],
  "a stream of a value": ["stream", "functions.echo", {}],
  "a deadline that passes": ["call", "functions.stall", { timeoutMs: 50 }],
  "a deadline that passes in a stream": ["stream", "functions.stallBetween", { timeoutMs: 250 }],
  "a result that cannot be sent": ["call", "functions.unsendable", {}],
};

const EXPOSED: Record<string, unknown> = {
  "a class": { thing: Thing },
  "nothing to call": { thing: { number: 1 } },
  "too long a name": { ["x".repeat(257)]: () => undefined },
  "no name": { "": () => undefined },
  "the library's own name": { "shm_polyglot.f": () => undefined },
};

async function provoke(bridge: Bridge): Promise<Record<string, string>> {
  const told: Record<string, string> = {};
  for (const [name, [kind, method, options]] of Object.entries(OPTIONS)) {
    // Some are of a wrong type, as JavaScript lets them be.
    const run = async (): Promise<unknown> =>
      kind === "call"
        ? bridge.call(method as string, [3], options as CallOptions)
        : items(bridge, method as string, [3], options as StreamOptions);
    told[name] = await said(run);
  }
  for (const [name, make] of Object.entries(VALUES)) told[name] = await said(() => bridge.call("functions.echo", [make()]));
  for (const [name, exposable] of Object.entries(EXPOSED)) {
    told[`exposing ${name}`] = await said(() => { bridge.expose(exposable as Exposables); });
  }
  told["too large a result"] = await said(() => bridge.call("functions.text", [100_000]));
  told["too many calls"] = await tooManyCalls(bridge);
  return told;
}

/** One more than a connection takes. */
async function tooManyCalls(bridge: Bridge): Promise<string> {
  const calls: Promise<unknown>[] = [];
  for (let number = 0; number < 1024; number++) calls.push(bridge.call("functions.echo", [number]));
  const refused = await said(() => bridge.call("functions.echo", [0]));
  await Promise.all(calls);
  return refused;
}

const NOBODY = new Proxy({}, { get: () => () => undefined }) as FrameSink;

function read(of: string, wire: Buffer): void {
  if (of === "hello") decodeHello(wire);
  else if (of === "answer") decodeAnswer(wire);
  else if (of === "value") decode(wire);
  else {
    const decoder = new Decoder();
    decoder.begin(Buffer.from(wire), 0, wire.length);
    readFrame(decoder, NOBODY);
  }
}

/** What is said of each message of `vectors/bad.json`. */
async function refusals(): Promise<Record<string, string>> {
  const told: Record<string, string> = {};
  const path = join(__dirname, "..", "..", "shm_protocol", "vectors", "bad.json");
  for (const { name, wire, of } of JSON.parse(readFileSync(path, "utf8")) as { name: string; wire: string; of: string }[]) {
    told[`${of}: ${name}`] = await said(() => { read(of, Buffer.from(wire, "hex")); });
  }
  return told;
}

async function main(): Promise<void> {
  const bridge = await listen({ expose: { functions }, maxMessage: 65_536, name: "peer" });
  const attached = new Promise((resolve) => bridge.once("connect", resolve));
  console.log("ready");
  await attached;
  const provoked = await provoke(bridge);
  const refused = await refusals();
  process.stdin.on("end", () => {
    void bridge.close().then(async () => {
      provoked["after the end"] = await said(() => bridge.call("functions.echo", [1]));
      console.log(JSON.stringify({ provoked, refused }));
    });
  });
  process.stdin.resume();
  console.log("provoked");
}

void main();
