import assert from "node:assert/strict";
import { AsyncLocalStorage } from "node:async_hooks";
import { existsSync } from "node:fs";
import { suite, test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import { inspect } from "node:util";

import { socketDescriptor } from "../src/binding";
import type { Bridge } from "../src/bridge";
import type { ConnectionInfo } from "../src/connection_info";
import { callBeingServed } from "../src/calls";
import { currentCall } from "../src/current_call";
import {
  type BridgeError,
  Busy,
  CallTimeout,
  CallTooDeep,
  Cancelled,
  ConnectionClosed,
  EncodeError,
  MessageTooLarge,
  PeerGone,
  PeerUnavailable,
  RemoteError,
  UnknownMethod,
} from "../src/errors";
import type { TransportKind } from "../src/connection_info";
import { encodeLeave } from "../src/frames";
import { encodeHello } from "../src/handshake";
import type { Value } from "../src/value_types";
import { Encoder } from "../src/values";
import { binding, connected, dial, isPolled, nameFunctions, next, type Peer, Refused, segmentName, withBridge } from "./dialer";

const FOREVER = { timeoutMs: Infinity };
const KIB = 1024;
const MIB = 1024 * KIB;

/** A worker that does not park, however slow the machine and with one core, too: who is parked does not say whether it is busy. */
const UNPARKED = { transport: "shm", starts: false } as const;

/** Bytes that show when two are exchanged. */
function pattern(length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  for (let index = 0; index < length; index++) bytes[index] = (index * 31 + (index >> 8)) & 0xff;
  return bytes;
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await turn();
}

const variants: [string, TransportKind, { ringBytes?: number; spinUs?: number }][] = [
  ["socket", "socket", {}],
  ["shm", "shm", {}],
  ["shm that never polls, with the smallest ring", "shm", { ringBytes: 4 * KIB, spinUs: 0 }],
];

for (const [name, transport, dialing] of variants) {
  suite(`a bridge over ${name}`, () => {
    test("both sides call each other, one after the other and all at once", async () => {
      await withBridge({ expose: { twice: (x: number) => 2 * x } }, async ({ bridge, path }) => {
        const peer = await dial(path, { transport, ...dialing, expose: { add: (a: number, b: number) => a + b } });
        for (let x = 0; x < 300; x++) {
          assert.equal(await bridge.call("add", [x, 1]), x + 1);
          assert.equal(await peer.connection.session.call("twice", [x], FOREVER), 2 * x);
        }
        const calls: Promise<unknown>[] = [];
        for (let x = 0; x < 500; x++) calls.push(bridge.call("add", [x, 1]), peer.connection.session.call("twice", [x], FOREVER));
        const answers = await Promise.all(calls);
        assert.deepEqual(answers, Array.from({ length: 1000 }, (_, index) => (index % 2 === 0 ? index / 2 + 1 : index - 1)));
      });
    });

    test("what is known of a peer", async () => {
      await withBridge({}, async ({ bridge, path, log }) => {
        const event = next(bridge, "connect");
        await dial(path, { transport, ...dialing, name: "gunicorn worker 3", maxMessage: 100_000, expose: { f: () => 1 } });
        const [info] = bridge.connections;
        assert.equal(await event, info);
        assert.deepEqual(
          [info?.id, info?.name, info?.role, info?.transport, info?.language, info?.library, info?.maxMessage],
          [1, "gunicorn worker 3", "worker", transport, "typescript", "0.1.0", 100_000],
        );
        assert.equal(bridge.workers, 1);
        await bridge.call("f");
        assert.deepEqual([info?.outstanding, info?.served, info?.lateAnswers, info?.beingServed], [0, 0, 0, 0]);
        assert.equal(info?.channel?.messagesSent, transport === "shm" ? 1 : undefined);
        assert.ok(log.lines.some((line) => line.message === "connected" && line.fields["peer"] === "gunicorn worker 3"));
      });
    });

    /** Workers that tell who was asked; the one that is asked first goes away without an answer. */
    async function withMortalWorkers(
      names: readonly string[],
      body: (context: { bridge: Bridge; asked: string[] }) => Promise<void>,
    ): Promise<void> {
      await withBridge({}, async ({ bridge, path }) => {
        const asked: string[] = [];
        for (const worker of names) {
          const peer: Peer = await dial(path, {
            transport,
            ...dialing,
            expose: {
              who: (): Value | Promise<Value> => {
                asked.push(worker);
                if (asked.length > 1) return worker;
                setImmediate(() => { peer.connection.close(); });
                return new Promise<Value>(() => undefined);
              },
            },
          });
        }
        await body({ bridge, asked });
      });
    }

    test("an idempotent call whose worker goes away is made once more, at another worker", async () => {
      await withMortalWorkers(["a", "b"], async ({ bridge, asked }) => {
        const answer = await bridge.call("who", [], { idempotent: true });
        assert.deepEqual([...asked].sort(), ["a", "b"]);
        assert.equal(answer, asked[1]);
      });
    });

    test("a call that is not marked idempotent is never made again", async () => {
      await withMortalWorkers(["a", "b"], async ({ bridge, asked }) => {
        await assert.rejects(bridge.call("who"), PeerGone);
        assert.equal(asked.length, 1);
        await bridge.call("who");
        assert.equal(asked.length, 2);
      });
    });

    test("where no other worker is left, or one was named, an idempotent call fails as any other", async () => {
      await withMortalWorkers(["a"], async ({ bridge, asked }) => {
        await assert.rejects(bridge.call("who", [], { idempotent: true }), PeerGone);
        assert.equal(asked.length, 1);
      });
      await withMortalWorkers(["a", "b"], async ({ bridge, asked }) => {
        const [connection] = bridge.connections;
        assert.ok(connection);
        await assert.rejects(bridge.call("who", [], { idempotent: true, connection }), PeerGone);
        assert.equal(asked.length, 1);
      });
    });

    test("messages of every size arrive whole, both ways at once", async () => {
      await withBridge({ expose: { echo: (bytes: Uint8Array) => bytes } }, async ({ bridge, path }) => {
        const peer = await dial(path, { transport, ...dialing, expose: { echo: (bytes: Uint8Array) => bytes } });
        for (const length of [0, 1, 1000, 4 * KIB, 16 * KIB - 20, 64 * KIB, 64 * KIB + 1, MIB]) {
          const sent = pattern(length);
          const [there, back] = await Promise.all([
            bridge.call<Uint8Array>("echo", [sent]),
            peer.connection.session.call("echo", [sent], FOREVER),
          ]);
          assert.ok(Buffer.compare(there, sent) === 0, `${length} bytes`);
          assert.ok(Buffer.compare(back as Uint8Array, sent) === 0, `${length} bytes`);
        }
      });
    });

    test("full in both directions, nothing is lost or mixed up", async () => {
      await withBridge({ expose: { echo: (value: Value) => value } }, async ({ bridge, path }) => {
        const peer = await dial(path, { transport, ...dialing, expose: { echo: (value: Value) => value } });
        const calls: Promise<void>[] = [];
        for (let x = 0; x < 60; x++) {
          const sent = [x, pattern(20_000 + x)];
          const check = (answer: unknown): void => { assert.deepEqual(answer, sent); };
          calls.push(bridge.call("echo", [sent]).then(check), peer.connection.session.call("echo", [sent], FOREVER).then(check));
        }
        await Promise.all(calls);
      });
    });

    test("a nested call goes back on the connection it came by, with chain, deadline and trace", async () => {
      const seen: unknown[] = [];
      const expose = {
        outer: async (): Promise<Value> => {
          await turn();
          return bridgeOf().call("inner", [], {});
        },
      };
      let bridgeOf!: () => Bridge;
      await withBridge({ expose }, async ({ bridge, path }) => {
        bridgeOf = () => bridge;
        const inner = (who: string) => (): string => {
          const call = currentCall();
          seen.push(call?.chain, call?.traceparent, (call?.remainingMs ?? 0) <= 5000 && (call?.remainingMs ?? 0) > 0);
          return who;
        };
        await dial(path, { transport, ...dialing, name: "worker", expose: { inner: inner("worker") } });
        const client = await dial(path, { transport, ...dialing, role: "client", name: "client", expose: { inner: inner("client") } });
        const meta = { chain: ["top"], deadlineMs: 5000, traceparent: "00-trace" };
        assert.equal(await client.connection.session.call("outer", [], { timeoutMs: 5000, meta }), "client");
        assert.deepEqual(seen, [["top", "outer"], "00-trace", true]);
        // What is no part of a call goes to the worker.
        assert.equal(await bridge.call("inner"), "worker");
      });
    });

    test("a call without limit says so, and one of the default time-out says nothing", async () => {
      await withBridge({}, async ({ bridge, path }) => {
        // Served, both have no deadline: what was told is seen in the request alone.
        const limit = (): string => String((currentCall() as unknown as { meta?: { deadlineMs?: number } }).meta?.deadlineMs);
        await dial(path, { transport, ...dialing, expose: { limit } });
        const forever = { timeoutMs: Infinity };
        assert.deepEqual([await bridge.call("limit", [], forever), await bridge.call("limit")], ["Infinity", "undefined"]);
      });
    });

    test("calls nest 32 deep, and the 33rd is a CallTooDeep that names the chain", async () => {
      let peer!: Peer;
      let bridgeOf!: () => Bridge;
      const far = async (depth: number): Promise<unknown> => {
        const call = currentCall();
        const chain = [...(call?.chain ?? []), "far"];
        return depth === 0 ? chain.length : peer.connection.session.call("near", [depth - 1], { timeoutMs: Infinity, meta: { chain } });
      };
      const near = async (depth: number): Promise<unknown> => (depth === 0 ? (currentCall()?.chain.length ?? 0) + 1 : bridgeOf().call("far", [depth - 1]));
      await withBridge({ expose: { near } }, async ({ bridge, path }) => {
        bridgeOf = () => bridge;
        peer = await dial(path, { transport, ...dialing, expose: { far } });
        assert.equal(await bridge.call("far", [31]), 32);
        await assert.rejects(bridge.call("far", [32]), (error) => {
          assert.ok(error instanceof RemoteError && error.type === CallTooDeep.name, String(error));
          assert.match(error.message, /far -> near -> far -> near/);
          return true;
        });
      });
    });

    test("what is left running after the answer is no part of the call any more", async () => {
      let later!: Promise<unknown>;
      let bridgeOf!: () => Bridge;
      const expose = { start: () => { later = turn().then(turn).then(() => bridgeOf().call("who")); } };
      await withBridge({ expose }, async ({ bridge, path }) => {
        bridgeOf = () => bridge;
        await dial(path, { transport, ...dialing, expose: { who: () => "worker" } });
        const client = await dial(path, { transport, ...dialing, role: "client", expose: { who: () => "client" } });
        await client.connection.session.call("start", [], FOREVER);
        assert.equal(await later, "worker");
      });
    });

    test("streams go both ways", async () => {
      const count = function* (to: number): Generator<number> { for (let x = 0; x < to; x++) yield x; };
      await withBridge({ expose: { count } }, async ({ bridge, path }) => {
        const peer = await dial(path, { transport, ...dialing, expose: { count } });
        const there: Value[] = [];
        for await (const item of bridge.stream("count", [1000])) there.push(item);
        const back: Value[] = [];
        for await (const item of peer.connection.session.stream("count", [1000], 3, FOREVER)) back.push(item);
        assert.deepEqual(there, [...count(1000)]);
        assert.deepEqual(back, [...count(1000)]);
        for await (const item of bridge.stream("count", [1e9], { credit: 2 })) if (item === 10) break;
        await until(() => peer.connection.beingServed === 0);
      });
    });

    test("a time-out, a cancellation and a notification", async () => {
      let notified: unknown;
      await withBridge({}, async ({ bridge, path }) => {
        let signal: AbortSignal | undefined;
        const expose = {
          never: () => { signal = currentCall()?.signal; return new Promise(() => undefined); },
          note: (value: Value) => { notified = value; },
        };
        await dial(path, { transport, ...dialing, expose });
        await assert.rejects(bridge.call("never", [], { timeoutMs: 20 }), CallTimeout);
        await until(() => signal?.aborted === true);
        const controller = new AbortController();
        const call = bridge.call("never", [], { signal: controller.signal });
        controller.abort();
        await assert.rejects(call, Cancelled);
        bridge.notify("note", ["hello"]);
        await until(() => notified === "hello");
      });
    });

    test("errors carry the caller's stack above the remote one", async () => {
      await withBridge({}, async ({ bridge, path }) => {
        await dial(path, { transport, ...dialing, expose: { fail: function faraway() { throw new RangeError("no"); } } });
        async function callerOfTheBridge(): Promise<void> {
          await bridge.call("fail");
        }
        await assert.rejects(callerOfTheBridge(), (error) => {
          assert.ok(error instanceof RemoteError);
          assert.match(error.stack ?? "", /^RemoteError: no\n[^]*callerOfTheBridge[^]*--- remote stack ---\nRangeError: no\n[^]*faraway/);
          return true;
        });
        await assert.rejects(bridge.call("no.such"), UnknownMethod);
        await assert.rejects(bridge.call("fail", [new Set()]), EncodeError);
      });
    });

    test("the smaller max_message of both sides counts, and past it nothing breaks", async () => {
      await withBridge({ maxMessage: 50_000 }, async ({ bridge, path }) => {
        const expose = { give: (length: number) => "x".repeat(length), length: (text: string) => text.length };
        await dial(path, { transport, ...dialing, maxMessage: 20_000, expose });
        assert.equal(await bridge.call("length", ["x".repeat(19_900)]), 19_900);
        await assert.rejects(bridge.call("length", ["x".repeat(20_000)]), MessageTooLarge);
        await assert.rejects(bridge.call("give", [20_000]), MessageTooLarge);
        assert.equal(await bridge.call("length", ["x"]), 1);
      });
    });

    test("a peer that dies fails what is outstanding at once, and the next call goes elsewhere", async () => {
      await withBridge({}, async ({ bridge, path }) => {
        const peer = await dial(path, { transport, ...dialing, expose: { wait: () => new Promise(() => undefined) } });
        const calls = [bridge.call("wait"), bridge.call("wait", [], { timeoutMs: Infinity })];
        const item = bridge.stream("wait").next();
        await until(() => peer.connection.beingServed === 3);
        const event = next(bridge, "disconnect");
        peer.socket.destroy();
        for (const call of [...calls, item]) await assert.rejects(call, PeerGone);
        await event;
        assert.equal(bridge.workers, 0);
        await assert.rejects(bridge.call("wait"), PeerUnavailable);
        await assert.rejects(bridge.call(""), { name: "EncodeError", message: "method: a name of 0 bytes: must be 1 to 256" });
        await dial(path, { transport, ...dialing, expose: { wait: () => "elsewhere" } });
        assert.equal(await bridge.call("wait"), "elsewhere");
      });
    });

    test("what a peer sent before it died still arrives", async () => {
      await withBridge({}, async ({ bridge, path }) => {
        const expose = { last: () => { setImmediate(() => { peer.socket.end(); }); return "words"; } };
        const peer = await dial(path, { transport, ...dialing, expose });
        assert.equal(await bridge.call("last"), "words");
      });
    });

    test("the bridge closing ends the peer's calls", async () => {
      await withBridge({ expose: { wait: () => new Promise(() => undefined) } }, async ({ bridge, path }) => {
        const peer = await dial(path, { transport, ...dialing, expose: { wait: () => new Promise(() => undefined) } });
        const theirs = peer.connection.session.call("wait", [], FOREVER);
        const ours = bridge.call("wait");
        await until(() => peer.connection.beingServed === 1);
        await Promise.all([bridge.close(), assert.rejects(theirs, PeerGone), assert.rejects(ours, PeerGone)]);
        assert.equal(await peer.ended, undefined);
      });
    });

    test("a served call sees no AsyncLocalStorage of whoever called, listened or was served before", async () => {
      const mine = new AsyncLocalStorage<string>();
      const seen = (): string => mine.getStore() ?? "nothing";
      const entered = (): string => { const before = seen(); mine.enterWith("left behind"); return before; };
      await mine.run("started", () => withBridge({ expose: { seen, entered } }, async ({ bridge, path }) => {
        const told: string[] = [];
        bridge.on("connect", () => told.push(seen()));
        const peer = await dial(path, { transport, ...dialing, expose: { f: () => 1 } });
        for (let round = 0; round < 3; round++) {
          const caller = mine.run("a request", async () => { await bridge.call("f", [], { timeoutMs: 5000 }); return seen(); });
          const inside = mine.exit(() => ["seen", "entered", "seen"].map((name) => peer.connection.session.call(name, [], FOREVER)));
          assert.deepEqual(await Promise.all(inside), ["nothing", "nothing", "nothing"]);
          assert.equal(await caller, "a request");
        }
        assert.deepEqual(told, ["nothing"]);
      }));
    });

    test("a call made while serving is within the call that is served, and a call of its own is not", async () => {
      const within: unknown[] = [];
      const note = (): void => { within.push((callBeingServed()?.meta?.within) ?? null); };
      await withBridge({}, async ({ bridge, path }) => {
        const first = await dial(path, { transport, ...dialing, name: "first", expose: { note } });
        const second = await dial(path, { transport, ...dialing, name: "second", expose: { note } });
        const [, toSecond] = bridge.connections;
        bridge.expose({
          back: async () => { await bridge.call("note"); },
          across: async () => { await bridge.call("note", [], { connection: toSecond as ConnectionInfo }); },
          stream: async function* () { await bridge.call("note"); yield 1; },
        });
        await first.connection.session.call("back", [], FOREVER);
        await second.connection.session.call("back", [], FOREVER);
        await first.connection.session.call("across", [], FOREVER);
        for await (const item of first.connection.session.stream("stream", [], 4, FOREVER)) assert.equal(item, 1);
        await bridge.call("note");
        assert.deepEqual(within, [1, 1, null, 3, null]);
      });
    });

    test("a peer that breaks the protocol is closed alone, and the log names it and what was wrong", async () => {
      await withBridge({}, async ({ bridge, path, log }) => {
        const good = await dial(path, { transport, ...dialing, name: "good", expose: { f: () => 1 } });
        const bad = await dial(path, { transport, ...dialing, name: "bad", role: "client" });
        const event = next(bridge, "disconnect");
        bad.connection.send(Buffer.from("c1", "hex"), 1);
        await event;
        await bad.ended;
        assert.equal(await bridge.call("f"), 1);
        assert.equal(good.connection.served, 1);
        const line = log.lines.find(({ level }) => level === "error");
        assert.deepEqual([line?.message, line?.fields["peer"], line?.fields["code"]], ["a connection broke", "bad", "ProtocolError"]);
        assert.match(String(line?.fields["reason"]), /a frame that is not an array/);
      });
    });

    test("a nested call that its caller has not got, and that is known, goes to a worker that has it", async () => {
      const expose = {
        outer: async (...args: Value[]): Promise<Value> => bridgeOf().call(args[0] as string),
        streamed: (...args: Value[]): AsyncIterable<Value> => bridgeOf().stream(args[0] as string),
        notified: (...args: Value[]): void => { bridgeOf().notify(args[0] as string); },
      };
      let bridgeOf!: () => Bridge;
      await withBridge({ expose }, async ({ bridge, path }) => {
        bridgeOf = () => bridge;
        const notified: string[] = [];
        const told = (who: string) => (): void => { notified.push(who); };
        await dial(path, {
          transport, ...dialing, names: true, expose: { ...answers("worker", "theirs", "both"), tell: told("worker"), each: function* () { yield "worker"; } },
        });
        const client = await dial(path, { transport, ...dialing, role: "client", names: true, expose: answers("client", "own", "both") });
        await until(() => bridge.workers === 1);
        const outer = (method: string): Promise<unknown> => client.connection.session.call("outer", [method], { timeoutMs: 5000 });
        assert.deepEqual([await outer("own"), await outer("both"), await outer("theirs")], ["client", "client", "worker"]);
        await assert.rejects(outer("nobodys"), /nobodys: nothing of that name is exposed/);
        client.connection.session.notify("notified", ["tell"], undefined);
        await until(() => notified.length === 1);
        const got: unknown[] = [];
        for await (const item of client.connection.session.stream("streamed", ["each"], 4, { timeoutMs: 5000 })) got.push(item);
        assert.deepEqual([notified, got], [["worker"], ["worker"]]);
      });
    });

    test("calls go to the worker with the fewest outstanding, in turn where they are equal, and never to a client", async () => {
      await withBridge({}, async ({ bridge, path }) => {
        const gates = new Map<string, (() => void)[]>();
        const worker = (who: string): Promise<Peer> =>
          dial(path, { transport, ...dialing, name: who, expose: {
            name: () => who,
            wait: () => new Promise((resolve) => { gates.set(who, [...(gates.get(who) ?? []), () => { resolve(who); }]); }),
          } });
        await worker("a");
        await worker("b");
        await worker("c");
        await dial(path, { transport, ...dialing, role: "client", expose: { name: () => "client" } });
        const names = [];
        for (let call = 0; call < 6; call++) names.push(await bridge.call<string>("name"));
        assert.deepEqual(names.slice(0, 3).sort(), ["a", "b", "c"]);
        assert.deepEqual(names.slice(3), names.slice(0, 3));
        const [first, second] = bridge.connections;
        const busy = [bridge.call("wait", [], { connection: first as ConnectionInfo }), bridge.call("wait", [], { connection: second as ConnectionInfo })];
        for (let call = 0; call < 3; call++) assert.equal(await bridge.call("name"), "c");
        await until(() => gates.size === 2);
        for (const open of [...gates.values()].flat()) open();
        assert.deepEqual(await Promise.all(busy), ["a", "b"]);
      });
    });

    /** Who answers, for workers that expose different functions. */
    const answers = (who: string, ...names: string[]): Record<string, () => string> => Object.fromEntries(names.map((one) => [one, () => who]));

    test("a call goes to a worker that has the function, of several to the least busy, and each gets its turn", async () => {
      await withBridge({}, async ({ bridge, path }) => {
        await dial(path, { transport, ...dialing, names: true, expose: answers("a", "ml.predict", "ml.train") });
        await dial(path, { transport, ...dialing, names: true, expose: { ...answers("b", "ml.predict"), hold: () => new Promise(() => undefined) } });
        await dial(path, { transport, ...dialing, names: true, expose: answers("mine", "mine.f") });
        await until(() => bridge.workers === 3);
        for (let call = 0; call < 6; call++) {
          assert.equal(await bridge.call("mine.f"), "mine");
          assert.equal(await bridge.call("ml.train"), "a");
        }
        const predicted = [];
        for (let call = 0; call < 6; call++) predicted.push(await bridge.call<string>("ml.predict"));
        assert.deepEqual(predicted.sort(), ["a", "a", "a", "b", "b", "b"]);
        const held = assert.rejects(bridge.call("hold", [], FOREVER), PeerGone);
        for (let call = 0; call < 3; call++) assert.equal(await bridge.call("ml.predict"), "a");
        assert.equal(bridge.leastBusyWorker("ml.predict"), bridge.connections[0]);
        assert.equal(bridge.leastBusyWorker("mine.f"), bridge.connections[2]);
        await bridge.close();
        await held;
      });
    });

    test("UnknownMethod is told only where no worker has the function", async () => {
      await withBridge({}, async ({ bridge, path }) => {
        await dial(path, { transport, ...dialing, names: true, expose: answers("a", "f") });
        await dial(path, { transport, ...dialing, names: true, expose: answers("b", "g") });
        await until(() => bridge.workers === 2);
        for (let call = 0; call < 4; call++) {
          await assert.rejects(bridge.call("h"), (error) => error instanceof UnknownMethod && error.message.startsWith("h: nothing of that name"));
          assert.deepEqual([await bridge.call("f"), await bridge.call("g")], ["a", "b"]);
        }
      });
    });

    test("a worker that names nothing, as before protocol 1.1, is asked for what nobody is known to have", async () => {
      await withBridge({}, async ({ bridge, path }) => {
        await dial(path, { transport, ...dialing, expose: answers("old", "f", "g") });
        assert.equal(bridge.workers, 1);
        assert.deepEqual([await bridge.call("f"), await bridge.call("g")], ["old", "old"]);
        await dial(path, { transport, ...dialing, names: true, expose: answers("new", "f") });
        await until(() => bridge.workers === 2);
        for (let call = 0; call < 4; call++) assert.deepEqual([await bridge.call("f"), await bridge.call("g")], ["new", "old"]);
        await assert.rejects(bridge.call("h"), UnknownMethod);
      });
    });

    test("a worker is attached, and told of, once it has named all that it said", async () => {
      await withBridge({}, async ({ bridge, path, log }) => {
        const events: string[] = [];
        for (const event of ["connect", "disconnect"] as const) bridge.on(event, ({ name: who }) => events.push(`${event} ${who}`));
        const slow = await dial(path, { transport, ...dialing, name: "slow", exposes: 3, expose: answers("slow", "f", "g", "h") });
        nameFunctions(slow.connection, ["f", "g"]);
        // Answered after what was sent before it.
        await assert.rejects(slow.connection.session.call("none", [], FOREVER), UnknownMethod);
        assert.deepEqual([bridge.workers, bridge.connections, events], [0, [], []]);
        const attached = next(bridge, "connect");
        nameFunctions(slow.connection, ["h"]);
        assert.equal(await attached, bridge.connections[0]);
        assert.equal(bridge.workers, 1);
        await assert.rejects(bridge.call("none"), UnknownMethod);
        assert.deepEqual([await bridge.call("f"), await bridge.call("h")], ["slow", "slow"]);
        // One that never names them is not told of, neither when it comes nor when it goes.
        const silent = await dial(path, { transport, ...dialing, name: "silent", exposes: 1 });
        silent.socket.destroy();
        await until(() => log.lines.some(({ message, fields }) => message === "disconnected" && fields["peer"] === "silent"));
        const gone = next(bridge, "disconnect");
        slow.socket.destroy();
        await gone;
        assert.deepEqual(events, ["connect slow", "disconnect slow"]);
      });
    });

    test("what a worker exposes later is called as soon as it has been named, also while calls wait", async () => {
      await withBridge({}, async ({ bridge, path }) => {
        const opened: (() => void)[] = [];
        const expose = { ...answers("a", "f"), hold: () => new Promise<Value>((resolve) => opened.push(() => { resolve("held"); })) };
        const a = await dial(path, { transport, ...dialing, names: true, expose });
        await dial(path, { transport, ...dialing, names: true, expose: answers("b", "f", "g") });
        await until(() => bridge.workers === 2);
        const held = Array.from({ length: 5 }, () => bridge.call("hold"));
        await until(() => opened.length === 5);
        assert.equal(await bridge.call("g"), "b");
        a.exposed.add(answers("a", "late", "g"));
        nameFunctions(a.connection, ["late", "g"]);
        await assert.rejects(a.connection.session.call("none", [], FOREVER), UnknownMethod);
        assert.equal(await bridge.call("late"), "a");
        // It has it now, and has more to do.
        for (let call = 0; call < 3; call++) assert.equal(await bridge.call("g"), "b");
        for (const open of opened) open();
        assert.deepEqual(await Promise.all(held), Array.from({ length: 5 }, () => "held"));
        const asked = new Set([await bridge.call("g"), await bridge.call("g")]);
        assert.deepEqual([...asked].sort(), ["a", "b"]);
      });
    });

    test("where those that had a function have gone it is PeerUnavailable, which names it; others are not asked", async () => {
      await withBridge({}, async ({ bridge, path }) => {
        const a = await dial(path, { transport, ...dialing, names: true, expose: answers("a", "f", "g") });
        const b = await dial(path, { transport, ...dialing, names: true, expose: answers("b", "g") });
        await until(() => bridge.workers === 2);
        const event = next(bridge, "disconnect");
        a.socket.destroy();
        await event;
        for (let call = 0; call < 3; call++) assert.equal(await bridge.call("g"), "b");
        const missed = { name: "PeerUnavailable", message: `f: no worker that exposes it is attached to ${path}` };
        await assert.rejects(bridge.call("f"), missed);
        await assert.rejects(bridge.call("f", [], { idempotent: true }), missed);
        assert.throws(() => { bridge.notify("f"); }, missed);
        assert.throws(() => bridge.stream("f"), missed);
        assert.equal(b.connection.served, 3);
        await dial(path, { transport, ...dialing, names: true, expose: answers("again", "f") });
        await until(() => bridge.workers === 2);
        assert.equal(await bridge.call("f"), "again");
      });
    });

    test("an idempotent call is made again only at a worker that has the function", async () => {
      await withBridge({}, async ({ bridge, path }) => {
        const dies: Peer = await dial(path, { transport, ...dialing, names: true, expose: {
          f: () => { setImmediate(() => { dies.connection.close(); }); return new Promise<Value>(() => undefined); },
        } });
        const other = await dial(path, { transport, ...dialing, names: true, expose: answers("other", "g") });
        await until(() => bridge.workers === 2);
        await assert.rejects(bridge.call("f", [], { idempotent: true }), PeerGone);
        assert.equal(other.connection.served, 0);
      });
    });

    test("a worker that leaves gets no new calls, and others that have the function do", async () => {
      await withBridge({}, async ({ bridge, path }) => {
        const leaving = await dial(path, { transport, ...dialing, names: true, expose: answers("leaving", "f", "g") });
        await dial(path, { transport, ...dialing, names: true, expose: answers("stays", "f") });
        await until(() => bridge.workers === 2);
        const encoder = new Encoder();
        encodeLeave(encoder);
        leaving.connection.send(encoder.buffer, encoder.position);
        nameFunctions(leaving.connection, ["late"]);
        await until(() => bridge.workers === 1);
        for (let call = 0; call < 4; call++) assert.equal(await bridge.call("f"), "stays");
        await assert.rejects(bridge.call("g"), PeerUnavailable);
        assert.equal(leaving.connection.served, 0);
      });
    });

    test("many thousands of names are taken, too many end the connection, and what a client names is for nested calls alone", async () => {
      await withBridge({}, async ({ bridge, path, log }) => {
        const names = (count: number): string[] => Array.from({ length: count }, (_, index) => `module.function_${index}`);
        const many = await dial(path, { transport, ...dialing, name: "many", exposes: 50_000, expose: answers("many", "module.function_49999") });
        nameFunctions(many.connection, names(50_000));
        const client = await dial(path, { transport, ...dialing, role: "client", expose: answers("client", "f") });
        nameFunctions(client.connection, ["f", "module.function_49999"]);
        await until(() => bridge.workers === 1);
        assert.equal(await bridge.call("module.function_49999"), "many");
        await assert.rejects(bridge.call("f"), UnknownMethod);
        const ended = next(bridge, "disconnect");
        nameFunctions(many.connection, names(20_000));
        await ended;
        await many.ended;
        const line = log.lines.find(({ message }) => message === "a connection broke");
        assert.deepEqual([line?.fields["peer"], line?.fields["reason"]], ["many", "70000 exposed functions; at most 65536 are allowed"]);
      });
    });

    test("past maxConnections a dialer is refused with Busy, and one may come when one has gone", async () => {
      await withBridge({ maxConnections: 1 }, async ({ bridge, path }) => {
        const first = await dial(path, { transport, ...dialing });
        await assert.rejects(dial(path, { transport, ...dialing }), (error) => error instanceof Refused && error.refusal.code === Busy.name);
        const event = next(bridge, "disconnect");
        first.socket.destroy();
        await event;
        await dial(path, { transport, ...dialing });
      });
    });
  });
}

suite("a bridge over shm", () => {
  test("the segment has no name any more when the dialer is welcome", async () => {
    await withBridge({}, async ({ path }) => {
      const socket = await connected(path);
      const segment = segmentName();
      const channel = binding.create(segment, socketDescriptor(socket), 65536, 1000, -1);
      assert.ok(existsSync(`/dev/shm${segment}`));
      socket.write(encodeHello({ role: "worker", transport: "shm", name: "n", language: "l", library: "v", maxMessage: 1000, segment }));
      await new Promise((resolve) => socket.once("data", resolve));
      assert.equal(existsSync(`/dev/shm${segment}`), false);
      binding.close(channel);
      socket.destroy();
    });
  });

  test("an idle connection is parked on both sides and polls no more", async () => {
    await withBridge({}, async ({ bridge, path }) => {
      const peer = await dial(path, { transport: "shm", expose: { f: () => 1 } });
      await bridge.call("f");
      const [info] = bridge.connections;
      await until(() => !isPolled(bridge) && !isPolled(peer.connection));
      const before = info?.channel?.parks;
      assert.ok(before !== undefined && before > 0);
      for (let turns = 0; turns < 100; turns++) {
        await turn();
        assert.ok(!isPolled(bridge) && !isPolled(peer.connection));
      }
      assert.equal(info?.channel?.parks, before);
      assert.equal(await bridge.call("f"), 1);
    });
  });

  test("any byte on the socket but a doorbell ends the connection", async () => {
    await withBridge({}, async ({ path, log }) => {
      const peer = await dial(path, { transport: "shm" });
      peer.socket.write(Buffer.from([1, 1, 2]));
      await peer.ended;
      assert.match(String(log.lines.find(({ level }) => level === "error")?.fields["reason"]), /byte 0x02 on the socket/);
    });
  });

  test("doorbells for nothing are harmless", async () => {
    await withBridge({}, async ({ bridge, path }) => {
      const peer = await dial(path, { transport: "shm", expose: { f: () => 1 } });
      for (let ring = 0; ring < 50; ring++) {
        peer.socket.write(Buffer.alloc(1 + ring, 1));
        assert.equal(await bridge.call("f"), 1);
      }
    });
  });

  test("a worker that is busy comes after one that is not, also where that has calls outstanding", async () => {
    await withBridge({}, async ({ bridge, path }) => {
      const workers = [await dial(path, UNPARKED), await dial(path, UNPARKED)];
      workers[0]?.setBusy(true);
      await until(() => bridge.workers === 2);
      const calls = Array.from({ length: 66 }, () => bridge.call("hold").catch(() => undefined));
      assert.deepEqual(bridge.connections.map(({ outstanding }) => outstanding), [1, 65]);
      await bridge.close();
      await Promise.all(calls);
      for (const { socket } of workers) socket.destroy();
    });
  });

  test("of two workers with nothing outstanding, the one that is not busy gets the call", async () => {
    await withBridge({}, async ({ bridge, path }) => {
      const first = await dial(path, { ...UNPARKED, expose: { name: () => "a" } });
      await dial(path, { transport: "shm", expose: { name: () => "b" } });
      first.setBusy(true);
      for (let call = 0; call < 5; call++) assert.equal(await bridge.call("name"), "b");
      first.setBusy(false);
      first.connection.start();
      const names = [await bridge.call("name"), await bridge.call("name")];
      assert.deepEqual(names.sort(), ["a", "b"]);
    });
  });
});

suite("after close", () => {
  test("every method gives a clear ConnectionClosed, and close may be called again", async () => {
    await withBridge({ expose: { f: () => 1 } }, async ({ bridge, path }) => {
      await dial(path, { transport: "shm" });
      await bridge.close();
      await assert.rejects(bridge.call("f"), (error: BridgeError) => error instanceof ConnectionClosed && error.message === "f: the bridge has been closed");
      assert.throws(() => bridge.stream("f"), ConnectionClosed);
      assert.throws(() => { bridge.notify("f"); }, ConnectionClosed);
      assert.throws(() => { bridge.expose({ g: () => 1 }); }, ConnectionClosed);
      assert.deepEqual(bridge.connections, []);
      assert.equal(bridge.workers, 0);
      assert.deepEqual(bridge.functions, ["f"]);
      assert.equal(existsSync(path), false);
      await bridge.close();
    });
  });
});

suite("misuse", () => {
  test("wrong options are errors that name them", async () => {
    await withBridge({}, async ({ bridge }) => {
      await assert.rejects(bridge.call("f", [], { timeoutMs: 0 }), /RangeError: timeoutMs=0: must be/);
      await assert.rejects(bridge.call("f", [], { timeoutMs: NaN }), RangeError);
      await assert.rejects(bridge.call("f", [], { connection: { id: 1 } as unknown as ConnectionInfo }), TypeError);
      await assert.rejects(bridge.call("f"), (error) => error instanceof PeerUnavailable && error.message.includes("no worker is attached"));
      assert.throws(() => { bridge.notify("f"); }, PeerUnavailable);
      assert.throws(() => { bridge.expose({ x: {} }); }, TypeError);
    });
  });

  const wrong: [string, unknown, RegExp][] = [
    ["timeoutMs", "500", /TypeError: timeoutMs="500": must be a number/],
    ["timeoutMs", [500], /TypeError: timeoutMs=\[ 500 \]: must be/],
    ["timeoutMs", null, /TypeError: timeoutMs=null: must be/],
    ["timeoutMs", NaN, /RangeError: timeoutMs=NaN: must be/],
    ["timeoutMs", -1, /RangeError: timeoutMs=-1: must be/],
    ["timeoutMs", 1e300, /RangeError: timeoutMs=1e\+300: must be/],
    ["traceparent", 5, /TypeError: traceparent=5: must be a string/],
    ["traceparent", ["00-a", "00-b"], /TypeError: traceparent=/],
    ["signal", new AbortController(), /TypeError: signal=.*: must be an AbortSignal/],
    ["signal", {}, /TypeError: signal=\{\}: must be/],
    ["kwargs", 5, /TypeError: kwargs=5: must be a plain object/],
    ["kwargs", null, /TypeError: kwargs=null: must be a plain object/],
    ["kwargs", [["a", 1]], /TypeError: kwargs=.*: must be a plain object/],
    ["kwargs", new Map([["a", 1]]), /TypeError: kwargs=.*: must be a plain object/],
    ["kwargs", new Uint8Array(2), /TypeError: kwargs=.*: must be a plain object/],
    ["kwargs", new (class Options { a = 1; })(), /TypeError: kwargs=Options \{ a: 1 \}: must be a plain object/],
    ["kwargs", { get a() { throw new RangeError("looked at"); } }, /RangeError: looked at/],
    ["timeout", 5, /TypeError: options: "timeout" must be one of timeoutMs, signal, traceparent, idempotent, credit, kwargs, handles, connection/],
    ["connection", "first", /TypeError: connection: must be one of this bridge's/],
  ];
  for (const [name, value, expected] of wrong) {
    test(`${name}=${typeof value === "number" ? value : inspect(value)} is refused before anything is sent`, async () => {
      await withBridge({}, async ({ bridge, path }) => {
        const peer = await dial(path, { transport: "socket", expose: { f: () => 1 } });
        const options = { [name]: value };
        await assert.rejects(bridge.call("f", [], options), expected);
        assert.throws(() => bridge.stream("f", [], options), expected);
        assert.throws(() => { bridge.notify("f", [], options); }, expected);
        assert.equal(await bridge.call("f"), 1);
        assert.equal(peer.connection.served, 1);
      });
    });
  }

  test("an option is what it was when it was checked, whatever its getter gives the next time", async () => {
    await withBridge({}, async ({ bridge, path }) => {
      const peer = await dial(path, { transport: "socket", expose: { f: () => 1 } });
      const changing = (name: string, first: unknown): object => {
        let looks = 0;
        return Object.defineProperty({}, name, { get: () => (++looks === 1 ? first : ["another"]) });
      };
      for (const [name, first] of [["timeoutMs", 5000], ["traceparent", "00-a"], ["idempotent", true], ["connection", undefined], ["signal", undefined]] as const) {
        assert.equal(await bridge.call("f", [], changing(name, first)), 1);
        bridge.notify("f", [], changing(name, first));
      }
      assert.equal(await bridge.call("f"), 1);
      assert.equal(peer.connection.served, 11);
    });
  });

  test("so are a method, arguments, a credit and `idempotent` of a wrong kind", async () => {
    await withBridge({}, async ({ bridge }) => {
      const call = bridge.call.bind(bridge) as (...args: unknown[]) => Promise<unknown>;
      await assert.rejects(call(5), /TypeError: method=5: must be a string/);
      await assert.rejects(call("f", "args"), /TypeError: f: args must be an array, not string/);
      await assert.rejects(call("f", { length: 1 }), /TypeError: f: args must be an array/);
      await assert.rejects(call("f", [], null), /TypeError: options=null: must be an object/);
      await assert.rejects(call("f", [], ["second"]), /TypeError: options=\[ 'second' \]: must be an object/);
      await assert.rejects(call("f", [], { idempotent: "yes" }), /TypeError: idempotent="yes": must be true or false/);
      for (const credit of [0, -1, 1.5, 65537, NaN]) {
        assert.throws(() => bridge.stream("f", [], { credit }), { name: "RangeError", message: `credit=${credit}: must be an integer from 1 to 65536` });
      }
      assert.throws(() => bridge.stream("f", [], { credit: "8" as unknown as number }), /TypeError: credit="8": must be an integer/);
    });
  });

  test("and what a bridge is made with", async () => {
    const cases: [object, RegExp][] = [
      [{ path: 5 }, /TypeError: path=5: must be a string/],
      [{ name: ["x"] }, /TypeError: name=\[ 'x' \]: must be a string/],
      [{ transport: "tcp" }, /RangeError: transport="tcp": must be auto, shm or socket/],
      [{ transport: 5 }, /TypeError: transport=5: must be a string/],
      [{ maxMessage: "1024" }, /TypeError: maxMessage="1024": must be an integer/],
      [{ name: "" }, /RangeError: name="": must have 1 to 128 characters/],
      [{ name: "x".repeat(129) }, /RangeError: name="x+": must have 1 to 128 characters/],
      [{ name: "\ud800" }, /RangeError: name="\\ud800": must have no lone surrogates/],
      [{ maxMessage: 1 }, /RangeError: maxMessage=1: must be an integer/],
      [{ maxConnections: NaN }, /RangeError: maxConnections=NaN: must be an integer/],
      [{ maxConnections: 1e9 }, /RangeError: maxConnections=1000000000: must be/],
      [{ log: console.log }, /TypeError: log=.*: must be an object with info, warn and error/],
      [{ log: { info: () => undefined } }, /TypeError: log=/],
      [{ expos: {} }, /TypeError: options: "expos" must be one of path, transport, name, maxMessage, maxConnections, log, expose, files/],
      [{ expose: 5 }, /TypeError: expose=5: must be an object/],
    ];
    for (const [options, expected] of cases) await assert.rejects(withBridge(options, () => Promise.resolve()), expected);
  });

  test("what a listener is told of a connection is a plain object, whose numbers are those of now", async () => {
    await withBridge({}, async ({ bridge, path }) => {
      const told = next(bridge, "connect");
      const peer = await dial(path, { transport: "shm", name: "told", project: "/home/me/shop", expose: { f: () => 1 } });
      const info = (await told) as ConnectionInfo;
      const shown = { id: 1, name: "told", project: "/home/me/shop", role: "worker", transport: "shm", outstanding: 0, served: 0, beingServed: 0, lateAnswers: 0 };
      for (const copy of [JSON.parse(JSON.stringify(info)) as object, structuredClone(info), { ...info }]) {
        assert.deepEqual({ ...copy, ...shown }, copy);
        assert.deepEqual(Object.keys(copy).sort(), Object.keys(info).sort());
      }
      assert.equal(inspect(info), inspect({ ...info }));
      assert.equal(info, bridge.connections[0]);
      assert.equal(info, bridge.leastBusyWorker());
      await assert.rejects(peer.connection.session.call("missing", [], FOREVER), { code: "UnknownMethod" });
      await bridge.call("f", [], { connection: info });
      assert.equal(info.channel?.messagesSent, 2);
      await assert.rejects(bridge.call("f", [], { connection: { ...info } }), /connection: must be one of this bridge's connections/);
      const ended = next(bridge, "disconnect");
      peer.connection.close();
      assert.equal(await ended, info);
      assert.equal((JSON.parse(JSON.stringify(info)) as ConnectionInfo).channel, undefined);
    });
  });

  test("a logger that throws ends nothing: calls are answered and failures told to their callers", async () => {
    const log = { info: () => { throw new Error("full"); }, warn: () => { throw new Error("full"); }, error: () => { throw new Error("full"); } };
    await withBridge({ log, expose: { f: () => { throw new Error("told"); } } }, async ({ path }) => {
      const peer = await dial(path, { transport: "shm" });
      await assert.rejects(peer.connection.session.call("f", [], FOREVER), /told/);
    });
  });
});
