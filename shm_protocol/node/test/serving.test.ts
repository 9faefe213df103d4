import assert from "node:assert/strict";
import { AsyncLocalStorage } from "node:async_hooks";
import { spawn } from "node:child_process";
import { EventEmitter } from "node:events";
import { createReadStream, createWriteStream, readdirSync, type ReadStream, type WriteStream } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { Readable } from "node:stream";
import { suite, test } from "node:test";
import { setImmediate as turn, setTimeout as sleep } from "node:timers/promises";
import vm from "node:vm";
import { Worker } from "node:worker_threads";

import { callBeingServed } from "../src/calls";
import { currentCall } from "../src/current_call";
import { errorToMap } from "../src/error_maps";
import { EncodeError, RemoteError } from "../src/errors";
import { guardedLogger } from "../src/log";
import type { SessionCallOptions } from "../src/session";
import type { Value } from "../src/value_types";
import fc from "./fast_check";
import { Chance, hostile } from "./hostile";
import { MemoryLog, Pair } from "./pair";

/** Beside this file: somebody else may make folders elsewhere. */
const MISSING = join(__dirname, "no such folder", "report.csv");
const FOREVER: SessionCallOptions = { timeoutMs: Infinity };

interface Outcome {
  value?: unknown;
  error?: Error & { code?: string };
}

function outcome(promise: Promise<unknown>): Outcome {
  const seen: Outcome = {};
  promise.then(
    (value) => { seen.value = value; },
    (error: unknown) => { if (error instanceof Error) seen.error = error; },
  );
  return seen;
}

async function collect(stream: AsyncIterable<Value>): Promise<Value[]> {
  const items: Value[] = [];
  for await (const item of stream) {
    // By chance a stream has no end.
    if (items.push(item) === 20) break;
  }
  return items;
}

/** What a call and a stream of `f` come to. Everybody else is served all the same, and nothing is held against the peer. */
async function tried(f: () => unknown): Promise<{ call: Outcome; stream: Outcome; pair: Pair }> {
  const pair = new Pair({}, { f, ping: () => "pong" });
  const call = outcome(pair.near.session.call("f", [], FOREVER));
  const stream = outcome(collect(pair.near.session.stream("f", [], 8, FOREVER)));
  pair.near.session.notify("f", [], undefined);
  await pair.run();
  const ping = outcome(pair.near.session.call("ping", [], FOREVER));
  await pair.run();
  assert.equal(ping.value, "pong");
  assert.deepEqual([pair.near.error, pair.far.error, pair.far.gaveUp], [undefined, undefined, undefined]);
  return { call, stream, pair };
}

const thrower = (): never => { throw new Error("looked at"); };
const revoked = (target: object): object => {
  const revocable = Proxy.revocable<object>(target, {});
  revocable.revoke();
  return revocable.proxy;
};
const everyTrapThrows = (target: object): object => new Proxy(target, new Proxy({}, { get: () => thrower }));
const withGetter = (key: PropertyKey, target: object = new Error("told")): object => Object.defineProperty(target, key, { get: thrower });

suite("whatever is thrown, the caller gets a RemoteError with what can be told", () => {
  class ApiError extends Error {
    get data(): unknown { return JSON.parse("<html>") as unknown; }
  }
  const thrown: [string, () => unknown, RegExp][] = [
    ["an error whose data throws", () => new ApiError("bad gateway"), /^ApiError: bad gateway$/],
    ["an error whose message throws", () => withGetter("message"), /^Error: \(its message cannot be read: Error: looked at\)$/],
    ["an error whose stack throws", () => withGetter("stack"), /^Error: told$/],
    ["an error whose name throws", () => withGetter("name"), /^Error: told$/],
    ["an error whose constructor throws", () => withGetter("constructor", new TypeError("told")), /^TypeError: told$/],
    ["an error whose constructor is undefined", () => Object.assign(new Error("told"), { constructor: undefined }), /^Error: told$/],
    ["an error whose cause throws", () => withGetter("cause"), /^Error: told$/],
    ["an error whose code throws", () => withGetter("code"), /^Error: told$/],
    ["an error whose errors throw", () => withGetter("errors"), /^Error: told$/],
    ["an error without a prototype", () => Object.setPrototypeOf(new Error("told"), null) as object, /^Error: told$/],
    ["an error that is its own cause", () => { const error = new Error("told"); error.cause = error; return error; }, /^Error: told$/],
    ["an error with an object for a message", () => Object.assign(new Error("x"), { message: { a: 1 } }), /^Error: \{ a: 1 \}$/],
    ["an error with a lone surrogate", () => new Error("\ud800"), /^Error: \ufffd$/],
    ["a revoked proxy of an error", () => revoked(new Error("gone")), /^object: /],
    ["a proxy whose every trap throws", () => everyTrapThrows(new Error("gone")), /^object: /],
    ["undefined", () => undefined, /^undefined: undefined$/],
    ["null", () => null, /^object: null$/],
    ["a symbol", () => Symbol("s"), /^symbol: Symbol\(s\)$/],
    ["a function", () => function f() { return 1; }, /^function: \[Function: f\]$/],
    ["a bigint", () => 5n, /^bigint: 5n$/],
    ["an object that cannot be shown", () => withGetter(Symbol.for("nodejs.util.inspect.custom"), {}), /^object: /],
    ["a RemoteError whose type cannot be read", () => Object.defineProperty(new RemoteError("T", "m"), "type", { get: () => { throw new Error("looked at"); } }), /^RemoteError: m$/],
    ["a RemoteError that was tampered with", () => Object.assign(new RemoteError("T", "m"), { type: Symbol("t"), data: new Set(), stack: 5 }), /^Symbol\(t\): m$/],
    ["an EncodeError that was tampered with", () => Object.assign(new EncodeError("m"), { code: {}, message: undefined }), /^\{\}: $/],
    ["data that cannot be encoded", () => Object.assign(new Error("told"), { data: everyTrapThrows({}) }), /^Error: told$/],
  ];
  const ways: [string, (make: () => unknown) => () => unknown][] = [
    ["thrown", (make) => () => { throw make(); }],
    ["rejected", (make) => async () => { await turn(); throw make(); }],
    ["thrown by a generator", (make) => function* () { yield 1; throw make(); }],
    ["thrown by an async generator", (make) => async function* () { yield await Promise.resolve(1); throw make(); }],
  ];
  for (const [name, make, expected] of thrown) {
    for (const [how, exposed] of ways) {
      test(`${name}, ${how}`, async () => {
        const { call, stream } = await tried(exposed(make));
        const told = how.includes("generator") ? stream.error : call.error;
        assert.ok(told instanceof RemoteError, String(told));
        assert.match(`${told.type}: ${told.message}`, expected);
      });
    }
  }

  test("an application's Error.prepareStackTrace that throws", async () => {
    const before = Object.getOwnPropertyDescriptor(Error, "prepareStackTrace");
    try {
      const { call } = await tried(() => { Error.prepareStackTrace = thrower; throw new Error("told"); });
      assert.ok(call.error instanceof RemoteError && call.error.message === "told");
    } finally {
      if (before === undefined) Reflect.deleteProperty(Error, "prepareStackTrace");
      else Object.defineProperty(Error, "prepareStackTrace", before);
    }
  });
});

suite("whatever is given, the caller gets an error that says what is wrong with it", () => {
  const junk: [string, () => unknown, RegExp][] = [
    ["a `then` that throws when read", () => withGetter("then", {}), /RemoteError: looked at/],
    ["a `then` that throws when called", () => ({ then: thrower }), /RemoteError: looked at/],
    ["a promise whose constructor throws", () => withGetter("constructor", Promise.resolve(1)), /RemoteError: looked at/],
    ["a revoked proxy", () => revoked({}), /RemoteError: .*revoked/],
    ["a proxy whose every trap throws", () => everyTrapThrows({}), /RemoteError: /],
    ["a property that throws", () => withGetter("a", Object.defineProperty({}, "b", { enumerable: true, get: thrower })), /EncodeError: f: result\.b: .*looked at/],
    ["an async iterator that throws when read", () => withGetter(Symbol.asyncIterator, {}), /RemoteError: looked at/],
    ["a promise in an object", () => ({ user: Promise.reject(new Error("nobody awaits")) }), /EncodeError: f: result\.user: /],
  ];
  for (const [name, make, expected] of junk) {
    test(name, async () => {
      const { call, stream } = await tried(make);
      for (const { error } of [call, stream]) assert.match(String(error), expected);
    });
  }

  test("a thenable that calls back twice, and then throws, is answered once", async () => {
    const { call, pair } = await tried(() => ({
      then(resolve: (value: number) => void, reject: (error: Error) => void) { resolve(1); resolve(2); reject(new Error("3")); thrower(); },
    }));
    assert.equal(call.value, 1);
    assert.equal(pair.near.session.lateAnswers, 0);
    assert.equal(pair.far.session.beingServed, 0);
  });

  test("a promise with a `then` of its own is awaited as `await` does it", async () => {
    const { call } = await tried(() => Object.assign(Promise.resolve("settled"), { then: thrower }));
    assert.equal(call.value, "settled");
  });

  const streams: [string, () => unknown, RegExp][] = [
    ["no iterator", () => ({ [Symbol.asyncIterator]: () => null }), /gave no iterator/],
    ["an iterator without next", () => ({ [Symbol.asyncIterator]: () => ({}) }), /has no next/],
    ["a next that throws", () => ({ [Symbol.asyncIterator]: () => ({ next: thrower }) }), /looked at/],
    ["a next that gives a number", () => ({ [Symbol.asyncIterator]: () => ({ next: () => 5 }) }), /next\(\) gave number/],
    ["a next that gives nothing", () => ({ [Symbol.asyncIterator]: () => ({ next: () => undefined }) }), /next\(\) gave undefined/],
    ["a done that throws", () => ({ [Symbol.asyncIterator]: () => ({ next: () => withGetter("done", {}) }) }), /looked at/],
    ["a return that throws, and an item that cannot be sent", () => ({
      [Symbol.asyncIterator]: () => ({ next: () => ({ value: new Set() }), return: thrower }),
    }), /item: an object of class Set/],
    ["a generator of promises, one of which rejects", function* () { yield Promise.resolve(1); yield Promise.reject(new Error("the second")); }, /the second/],
    ["a web stream that is locked", () => { const stream = new ReadableStream(); stream.getReader(); return stream; }, /locked/],
    ["a stream of Node's that is destroyed", () => { const stream = Readable.from(["a"]); stream.destroy(); return stream; }, /Premature close/],
  ];
  for (const [name, make, expected] of streams) {
    test(`a stream with ${name}`, async () => {
      const { call, stream, pair } = await tried(make);
      assert.match(String(stream.error), expected);
      assert.match(String(call.error), /EncodeError: result: f gives a stream: call it with stream\(\)/);
      assert.equal(pair.far.session.beingServed, 0);
    });
  }

  test("an item that never comes holds nothing once the caller has left, and its iterator is closed", async () => {
    let closed = 0;
    const stall = { [Symbol.asyncIterator]: () => ({ next: () => new Promise(() => undefined), return: () => { closed++; } }) };
    const pair = new Pair({}, { f: () => stall });
    const stream = pair.near.session.stream("f", [], 8, FOREVER);
    await pair.run();
    assert.equal(pair.far.session.beingServed, 1);
    await stream.return();
    await pair.run();
    assert.deepEqual([pair.far.session.beingServed, closed], [0, 1]);
  });

  test("by chance: objects whose every hook may throw, thrown, given, promised, streamed and within others", async () => {
    const roles: ((make: () => unknown) => () => unknown)[] = [
      (make) => () => { throw make(); },
      (make) => async () => { await turn(); throw make(); },
      (make) => () => make(),
      (make) => async () => Promise.resolve(make()),
      (make) => () => ({ inner: [make()] }),
      (make) => () => { throw Object.assign(new Error("m"), { cause: make(), data: make(), errors: [make()], code: make() }); },
      (make) => function* () { yield make(); },
      (make) => async function* () { await turn(); yield { inner: make() }; },
      (make) => () => ({ [Symbol.asyncIterator]: () => make(), get next() { return make(); }, return: () => make() }),
      (make) => () => ({ then: () => make() }),
    ];
    await fc.assert(
      fc.asyncProperty(fc.nat(roles.length - 1), fc.array(fc.nat(), { minLength: 1, maxLength: 40 }), async (role, decisions) => {
        const chance = new Chance(decisions);
        const { call, stream } = await tried((roles[role] as (typeof roles)[0])(() => hostile(chance)));
        for (const { error } of [call, stream]) {
          assert.ok(error === undefined || error instanceof RemoteError || error instanceof EncodeError || error instanceof TypeError, String(error));
        }
      }),
      { numRuns: 400 },
    );
  });
});

suite("an error tells why", () => {
  async function remoteStack(f: () => unknown): Promise<string> {
    const { call } = await tried(f);
    assert.ok(call.error instanceof RemoteError);
    return call.error.remoteStack;
  }

  test("its causes are in its stack, however deep, and an end is put to loops and endless chains", async () => {
    const stack = await remoteStack(() => {
      throw new Error("outer", { cause: new TypeError("middle", { cause: "a text at the root" }) });
    });
    assert.match(stack, /Error: outer\n[^]*\nCaused by: TypeError: middle\n[^]*\nCaused by: a text at the root$/);
    const endless = await remoteStack(() => {
      class Endless extends Error {
        get causeOf(): Error { return new Endless("again"); }
        override get cause(): Error { return this.causeOf; }
      }
      throw new Endless("first");
    });
    assert.ok(endless.length < 100_000);
  });

  test("the members of an AggregateError are in its stack, and the code of a system's error is told", async () => {
    const stack = await remoteStack(() => Promise.any([Promise.reject(new Error("first reason")), Promise.reject(new Error("second reason"))]));
    assert.match(stack, /Error 1 of 2: Error: first reason[^]*Error 2 of 2: Error: second reason/);
    assert.match(await remoteStack(() => { throw Object.assign(new Error("no"), { code: "E_OF_MINE" }); }), /code: E_OF_MINE/);
    assert.match(await remoteStack(() => fetch("http://127.0.0.1:1/")), /Caused by: [^]*ECONNREFUSED|bad port/);
  });

  test("reasons that are no errors are told, each of several, and both errors of a SuppressedError", async () => {
    const stack = await remoteStack(() => { throw new AggregateError(["same", "same", { why: "third" }], "all failed"); });
    assert.match(stack, /Error 1 of 3: same\nError 2 of 3: same\nError 3 of 3: { why: 'third' }$/);
    const suppressed = (error: unknown, hidden: unknown): Promise<string> =>
      remoteStack(() => { throw Object.assign(new Error("while closing"), { name: "SuppressedError", error, suppressed: hidden }); });
    assert.match(await suppressed(new TypeError("last"), new RangeError("first")), /\nError: TypeError: last[^]*\nSuppressed: RangeError: first/);
    assert.match(await suppressed("last", "first"), /\nError: last\nSuppressed: first$/);
  });

  test("a text without measure is cut in the middle before anybody looks through it", async () => {
    const long = `begins ${"x".repeat(10_000_000)} ends`;
    for (const properties of [{ message: long }, { stack: long }, { name: long }, { code: long }, { cause: long }, { data: long }]) {
      const { call, pair } = await tried(() => { throw Object.assign(new Error("short"), properties); });
      assert.ok(call.error instanceof RemoteError);
      const logged = Math.max(...pair.far.log.lines.flatMap(({ fields }) => Object.values(fields).map((field) => String(field).length)));
      assert.ok(logged < long.length / 2, String(logged));
    }
    assert.match(errorToMap(new Error(long)).message, /^begins x+\n\[\d+ characters cut\]\nx+ ends$/);
  });

  test("an error of another realm keeps type, message, data and stack", async () => {
    const { call } = await tried(() => vm.runInNewContext('const e = new RangeError("far"); e.data = { limit: 3 }; throw e', {}, { filename: "foreign.js" }) as never);
    assert.ok(call.error instanceof RemoteError);
    assert.deepEqual([call.error.type, call.error.message, call.error.data], ["RangeError", "far", { limit: 3 }]);
    assert.match(call.error.remoteStack, /foreign\.js/);
  });

  for (const [what, message] of [["ASCII", "m".repeat(300)], ["Chinese", "字".repeat(1000)], ["emoji", "😀".repeat(600)]] as const) {
    test(`an error of ${what} larger than the peer takes is cut by bytes, down to the bare code`, async () => {
      for (const limit of [40, 48, 64, 100, 256, 257, 300, 1024, 1100, 4096]) {
        const pair = new Pair({}, { f: () => { throw Object.assign(new RangeError(message), { data: "d".repeat(5000) }); } }, limit);
        const call = outcome(pair.near.session.call("f", [], FOREVER));
        await pair.run();
        assert.ok(call.error instanceof RemoteError, `${limit}: ${String(call.error)} ${String(pair.far.gaveUp)}`);
        assert.ok(message.startsWith(call.error.message), call.error.message);
        if (limit >= 256) assert.ok(call.error.message.length > 0 && call.error.type === "RangeError");
      }
    });
  }

  test("where not even the code fits, the connection is given up here, with a reason that is not the peer's fault", async () => {
    const pair = new Pair({}, { f: thrower }, 30);
    void outcome(pair.near.session.call("f", [], FOREVER));
    await pair.run();
    assert.match(String(pair.far.gaveUp), /MessageTooLarge: no answer fits into the 30 bytes/);
  });
});

suite("what nobody takes is let go of", () => {
  const openFiles = (): number => readdirSync("/proc/self/fd").length;

  test("a file stream that was called, of a file that is there and of a missing one: no descriptor stays, nothing ends", async () => {
    const streams: (ReadStream | WriteStream)[] = [];
    const made = <S extends ReadStream | WriteStream>(stream: S): S => { streams.push(stream); return stream; };
    const pair = new Pair({}, {
      there: () => made(createReadStream(__filename)),
      missing: () => made(createReadStream(MISSING)),
      within: () => ({ name: "report", body: made(createReadStream(MISSING)), list: [made(createReadStream(__filename))] }),
      written: () => made(createWriteStream(MISSING)),
      later: async () => { await sleep(5); return made(createReadStream(MISSING)); },
    });
    const before = openFiles();
    const calls = ["there", "missing", "within", "written", "later"].map((name) => outcome(pair.near.session.call(name, [], FOREVER)));
    for (const name of ["there", "missing", "within", "later"]) pair.near.session.notify(name, [], undefined);
    // Of each call and notification, those within others included.
    while (streams.length < 11 || calls.some(({ error }) => error === undefined) || streams.some(({ closed }) => !closed)) await pair.run();
    for (const { error } of calls) assert.ok(error instanceof EncodeError, String(error));
    assert.ok(openFiles() <= before, `${before} descriptors were open, ${openFiles()} are`);
    const ofMissing = pair.far.log.lines.filter(({ message, fields }) => message.includes("nobody takes") && String(fields["error"]).includes("ENOENT"));
    assert.ok(ofMissing.length >= 3);
  });

  test("a web stream is cancelled, a generator returned, an async iterator closed", async () => {
    const ended: string[] = [];
    const { call } = await tried(() => new ReadableStream({ cancel: () => { ended.push("web"); } }));
    assert.ok(call.error instanceof EncodeError);
    await tried(() => ({ next: () => ({ value: new Set() }), return: () => { ended.push("sync"); return {}; }, [Symbol.iterator]() { return this; } }));
    await tried(() => ({ [Symbol.asyncIterator]: () => ({ next: () => Promise.resolve({ value: new Set() }), return: () => { ended.push("async"); } }) }));
    assert.deepEqual([...new Set(ended)], ["web", "sync", "async"]);
  });

  test("a promise that rejects ends nothing, however hard it is to hear of it", async () => {
    const rejected = (): Promise<never> => Promise.reject(new Error("late"));
    class Demanding extends Promise<unknown> {
      constructor(settle: ConstructorParameters<typeof Promise>[0], options: { why: string }) {
        super(settle);
        if (options.why === "never") throw new Error(options.why);
      }
    }
    const withOwn = (key: string, property: PropertyDescriptor): unknown => Object.defineProperty(rejected(), key, { configurable: true, ...property });
    const boom = (): never => { throw new Error("looked at"); };
    for (const give of [
      () => new Demanding((_, reject) => setImmediate(reject, new Error("late")), { why: "" }),
      () => withOwn("constructor", { get: boom }),
      () => withOwn("constructor", { value: { get [Symbol.species]() { return boom(); } } }),
      () => withOwn("then", { get: boom }),
      () => ({ get a() { return rejected(); } }),
      () => new (class { readonly field = rejected(); })(),
      () => new Set([rejected()]),
      () => Array.from({ length: 5000 }, rejected),
      () => [withOwn("constructor", { get: boom }), 1n << 70n],
      // Locked: nobody can take the place of their constructor.
      () => withOwn("constructor", { get: boom, configurable: false }),
      () => withOwn("constructor", { value: 5, configurable: false }),
      () => withOwn("constructor", { value: 5, configurable: false, writable: true }),
      () => ({ a: withOwn("constructor", { get: boom, configurable: false }), b: withOwn("then", { get: boom, configurable: false }) }),
      () => Object.freeze(new Demanding((_, reject) => { reject(new Error("late")); }, { why: "" })),
      () => Object.freeze(new (class Plain extends Promise<never> {})((_, reject) => { reject(new Error("late")); })),
      () => vm.runInNewContext("Object.freeze(Promise.reject(new Error('late')))") as unknown,
      // Hidden: in a proxy, beside what cannot be looked at, in a key, deep.
      () => new Proxy({ a: rejected(), b: rejected(), c: [rejected()] }, {}),
      () => [everyTrapThrows({}), rejected(), { a: rejected() }],
      () => new Map([[rejected(), rejected()]]),
      () => ({ [Symbol("hidden")]: rejected(), f: () => 1 }),
      () => Object.defineProperty({ f: () => 1 }, "hidden", { value: rejected() }),
      () => Array.from({ length: 100 }).reduce<unknown>((inner) => [inner, rejected()], rejected()),
      // What is thrown, and what it holds.
      () => { throw rejected(); }, // eslint-disable-line @typescript-eslint/only-throw-error
      () => ({ then: (_: unknown, reject: (error: unknown) => void) => { reject(rejected()); } }),
      () => { throw Object.assign(new Error("told", { cause: rejected() }), { data: { a: rejected(), b: [rejected()] }, work: rejected() }); },
      () => { throw new AggregateError([rejected(), new Error("inner", { cause: { again: rejected() } })]); },
      () => { throw Object.assign(new Error("told"), { data: withOwn("constructor", { get: boom, configurable: false }) }); },
      async () => { await turn(); throw Object.assign(new Error("told"), { data: [rejected(), new Proxy([rejected()], {})] }); },
    ]) {
      const { call } = await tried(give);
      assert.ok(call.error instanceof EncodeError || call.error instanceof RemoteError, String(call.error));
    }
    // The runner fails a test in which a rejection stays unheard.
    await sleep(10);
  });

  test("a promise or a stream that is thrown, or that an error carries, ends nothing", async () => {
    const rejected = (): Promise<never> => Promise.reject(new Error("late"));
    const missing = (): object => createReadStream(MISSING);
    const raise = (thrown: unknown): never => { throw thrown; };
    const errorWith = (properties: object): Error => Object.assign(new Error("carries"), properties);
    for (const throwOne of [
      () => raise(rejected()),
      () => raise(missing()),
      () => Promise.resolve().then(() => raise(rejected())),
      () => { throw errorWith({ data: rejected() }); },
      () => { throw errorWith({ data: { deep: [rejected(), missing()] } }); },
      () => { throw errorWith({ data: missing() }); },
      () => { throw new Error("carries", { cause: rejected() }); },
      () => { throw new Error("carries", { cause: new Error("deeper", { cause: rejected() }) }); },
      () => { throw new AggregateError([rejected()]); },
      () => { throw errorWith({ pending: rejected() }); },
    ]) {
      const { call } = await tried(throwOne);
      assert.ok(call.error instanceof RemoteError, String(call.error));
    }
    // The runner fails a test in which a rejection, or a stream's error, stays unheard.
    await sleep(10);
  });

  test("an emitter whose error nobody listens to ends nothing, in whatever a function gives or throws, and the log tells of it", async () => {
    const missing = MISSING;
    const raise = (thrown: unknown): never => { throw thrown; };
    const late = (): EventEmitter => {
      const emitter = new EventEmitter();
      setTimeout(() => emitter.emit("error", new Error(`late ${missing}`)), 5);
      return emitter;
    };
    for (const give of [
      () => spawn(missing),
      () => ({ child: spawn(missing) }),
      () => new Map([["child", [spawn(missing)]]]),
      () => new (class { readonly child = spawn(missing); })(),
      () => Object.assign(new (class { readonly job = 1; })(), { [Symbol("child")]: spawn(missing) }),
      () => createInterface({ input: createReadStream(missing) }),
      () => new Worker(`throw new Error("late ${missing}")`, { eval: true }),
      () => Promise.resolve(late()),
      () => ({ late: Promise.resolve(late()), never: new Set() }),
      () => raise(late()),
      () => raise(Object.assign(new Error("carries"), { data: { emitter: late() } })),
      () => raise(Object.assign(new Error("carries"), { child: spawn(missing) })),
      () => Promise.resolve().then(() => raise(new Error("carries", { cause: late() }))),
    ]) {
      const { call, pair } = await tried(give);
      assert.ok(call.error instanceof EncodeError || call.error instanceof RemoteError, String(call.error));
      const isTold = (): boolean =>
        pair.far.log.lines.some(({ message, fields }) => message.includes("nobody takes") && String(fields["error"]).includes(missing));
      while (!isTold()) await sleep(1);
    }
  });

  test("an emitter that somebody listens to is left to them", async () => {
    const emitter = new EventEmitter();
    const heard: unknown[] = [];
    emitter.on("error", (error) => heard.push(error));
    const { pair } = await tried(() => emitter);
    assert.equal(emitter.listenerCount("error"), 1);
    emitter.emit("error", "theirs");
    assert.deepEqual(heard, ["theirs"]);
    assert.ok(!pair.far.log.lines.some(({ message }) => message.includes("nobody takes")));
  });

  test("a file that was opened and that nobody takes is closed", async () => {
    const handles: FileHandle[] = [];
    const opened = async (): Promise<FileHandle> => {
      const handle = await open(__filename);
      handles.push(handle);
      return handle;
    };
    const pair = new Pair({}, { f: opened, within: async () => ({ file: await opened() }) });
    const calls = ["f", "within"].map((name) => outcome(pair.near.session.call(name, [], FOREVER)));
    while (calls.some(({ error }) => error === undefined) || handles.some(({ fd }) => fd >= 0)) await pair.run();
    for (const { error } of calls) assert.ok(error instanceof EncodeError, String(error));
  });

  test("a stream that comes after its caller has gone is closed", async () => {
    let resolve!: (value: unknown) => void;
    let closed = 0;
    const pair = new Pair({}, { f: () => new Promise((settle) => { resolve = settle; }) });
    const items = { next: () => ({ value: 1 }), return: () => { closed++; }, [Symbol.iterator]() { return this; } };
    for (const end of ["cancel", "end"]) {
      const call = outcome(pair.near.session.call("f", [], { timeoutMs: 10 }));
      await pair.run();
      if (end === "cancel") pair.pass(20);
      else pair.far.session.end("near is gone", false);
      await pair.run();
      resolve(items);
      await pair.run();
      if (end === "cancel") assert.match(String(call.error), /CallTimeout/);
    }
    assert.equal(closed, 2);
  });
});

suite("a context of its own", () => {
  test("what a function puts into an AsyncLocalStorage is seen by what it runs, and by no other call", async () => {
    const mine = new AsyncLocalStorage<string>();
    const pair = new Pair({}, {
      enter: async (name: string) => {
        const before = mine.getStore();
        mine.enterWith(name);
        await turn();
        return [before ?? null, mine.getStore()];
      },
      getter: () => ({ get seen() { const seen = mine.getStore(); mine.enterWith("left by a getter"); return seen; } }),
      aborted: () => { currentCall()?.signal.addEventListener("abort", () => { mine.enterWith("left by a listener"); }); return new Promise(() => undefined); },
    });
    const calls = ["a", "b"].map((name) => outcome(pair.near.session.call("enter", [name], FOREVER)));
    const getters = [1, 2].map(() => outcome(pair.near.session.call("getter", [], FOREVER)));
    outcome(pair.near.session.call("aborted", [], { timeoutMs: 10 }));
    await pair.run();
    pair.pass(20);
    await pair.run();
    const last = outcome(pair.near.session.call("enter", ["c"], FOREVER));
    await pair.run();
    assert.deepEqual(calls.map(({ value }) => value), [[null, "a"], [null, "b"]]);
    assert.deepEqual(getters.map(({ value }) => value), [{ seen: null }, { seen: null }]);
    assert.deepEqual(last.value, [null, "c"]);
    assert.equal(mine.getStore(), undefined);
  });

  test("a call knows the calls it was made within, on each connection the nearest that has no answer yet", async () => {
    const seen: unknown[] = [];
    const pair = new Pair({
      inner: () => {
        const call = callBeingServed();
        seen.push(call?.nearest(pair.near.session)?.id, call?.nearest(pair.far.session)?.id);
        return null;
      },
    }, {
      outer: async () => {
        const madeIn = callBeingServed();
        await pair.far.session.call("inner", [], { timeoutMs: Infinity, madeIn, meta: { within: madeIn?.id } });
      },
      root: () => { seen.push(callBeingServed()?.nearest(pair.near.session)); },
    });
    outcome(pair.near.session.call("root", [], FOREVER));
    outcome(pair.near.session.call("outer", [], FOREVER));
    await pair.run();
    // The inner call is call 1 of the other side; it was made by hand, out of any call of this side.
    assert.deepEqual(seen, [undefined, 1, undefined]);
    assert.equal(pair.near.error, undefined);
  });
});

suite("a logger that fails", () => {
  test("ends nothing, whether it throws or rejects", async () => {
    const pair = new Pair({}, { f: thrower });
    const rejecter = (): unknown => Promise.reject(new Error("the disk is full"));
    const log = guardedLogger({ info: thrower, warn: thrower, error: rejecter });
    for (const level of ["info", "warn", "error"] as const) log[level]("an event", { peer: "p" });
    await turn();
    assert.ok(pair.far.log instanceof MemoryLog);
  });
});
