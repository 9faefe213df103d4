import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { suite, test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";

import { socketDescriptor } from "../src/binding";
import type { Bridge } from "../src/bridge";
import type { ConnectionInfo } from "../src/connection";
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
import { encodeHello, type TransportKind } from "../src/handshake";
import type { Value } from "../src/values";
import { binding, connected, dial, next, type Peer, Refused, segmentName, withBridge } from "./dialer";

const FOREVER = { timeoutMs: Infinity };
const KIB = 1024;
const MIB = 1024 * KIB;

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
          seen.push(call?.chain, call?.traceparent, (call?.deadlineMs ?? 0) <= 5000 && (call?.deadlineMs ?? 0) > 0);
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
          assert.match(error.message, /far > near > far > near/);
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

    test("a peer that breaks the protocol is closed alone, and the log names it and what was wrong", async () => {
      await withBridge({}, async ({ bridge, path, log }) => {
        const good = await dial(path, { transport, ...dialing, name: "good", expose: { f: () => 1 } });
        const bad = await dial(path, { transport, ...dialing, name: "bad", role: "client" });
        const event = next(bridge, "disconnect");
        bad.connection.send(Buffer.from("c1", "hex"), 1);
        await event;
        await bad.ended;
        assert.equal(await bridge.call("f"), 1);
        assert.equal(good.connection.session.served, 1);
        const line = log.lines.find(({ level }) => level === "error");
        assert.deepEqual([line?.message, line?.fields["peer"], line?.fields["code"]], ["a connection broke", "bad", "ProtocolError"]);
        assert.match(String(line?.fields["reason"]), /no frame/);
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
      await until(() => (bridge.connections[0]?.channel?.parks ?? 0) > 0 && (peer.connection.channel?.parks ?? 0) > 0);
      const before = bridge.connections[0]?.channel?.parks;
      for (let turns = 0; turns < 100; turns++) await turn();
      assert.equal(bridge.connections[0]?.channel?.parks, before);
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

  test("of two workers with nothing outstanding, the one that is not busy gets the call", async () => {
    await withBridge({}, async ({ bridge, path }) => {
      // With a spin budget of 1 s neither parks: a parked worker does not say whether it is busy.
      const first = await dial(path, { transport: "shm", spinUs: 1_000_000, expose: { name: () => "a" } });
      await dial(path, { transport: "shm", spinUs: 1_000_000, expose: { name: () => "b" } });
      first.setBusy(true);
      for (let call = 0; call < 5; call++) assert.equal(await bridge.call("name"), "b");
      first.setBusy(false);
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
      await assert.rejects(bridge.call("f"), (error: BridgeError) => error instanceof ConnectionClosed && error.message === "f: the bridge is closed");
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
      await assert.rejects(bridge.call("f", [], { timeoutMs: 0 }), /RangeError: f: timeoutMs=0/);
      await assert.rejects(bridge.call("f", [], { timeoutMs: NaN }), RangeError);
      await assert.rejects(bridge.call("f", [], { connection: { id: 1 } as unknown as ConnectionInfo }), TypeError);
      await assert.rejects(bridge.call("f"), (error) => error instanceof PeerUnavailable && error.message.includes("no worker is attached"));
      assert.throws(() => { bridge.notify("f"); }, PeerUnavailable);
      assert.throws(() => { bridge.expose({ x: {} }); }, TypeError);
    });
  });
});
