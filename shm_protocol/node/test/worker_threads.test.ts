import assert from "node:assert/strict";
import { once } from "node:events";
import { join } from "node:path";
import { suite, test } from "node:test";
import { Worker } from "node:worker_threads";

import { PeerGone } from "../src/errors";
import type { TransportKind } from "../src/connection_info";
import { dial, type Peer, withBridge, withDirectory } from "./dialer";
import type { Order } from "./worker_bridge";

const FOREVER = { timeoutMs: Infinity };

interface Thread {
  worker: Worker;
  peer: Peer;
  /** What the bridge in the thread gets from its worker. */
  ask: (text: string) => Promise<unknown>;
  /** Close the bridge, and wait for the thread's end. */
  close: () => Promise<number>;
}

/** A thread with a bridge of its own, and a peer attached to that. */
async function start(directory: string, name: string, transport: TransportKind): Promise<Thread> {
  const path = join(directory, `${name}.sock`);
  const worker = new Worker(join(__dirname, "worker_bridge.js"), { workerData: path });
  await once(worker, "message");
  const peer = await dial(path, { transport, name, expose: { f: (text: string) => `${text} by ${name}` } });
  const give = (order: Order): void => { worker.postMessage(order); };
  return {
    worker,
    peer,
    ask: async (text) => {
      const answer = once(worker, "message");
      give({ call: text });
      return ((await answer) as unknown[])[0];
    },
    close: async () => {
      const exit = once(worker, "exit");
      give({ close: true });
      return ((await exit) as number[])[0] ?? -1;
    },
  };
}

const transports: TransportKind[] = ["shm", "socket"];

for (const transport of transports) {
  suite(`a bridge in a worker thread, over ${transport}`, () => {
    test("serves and calls as one in the main thread does, and lets the thread end when it is closed", async () => {
      await withDirectory(async (directory) => {
        const { worker, peer, ask, close } = await start(directory, "one", transport);
        assert.equal(await peer.connection.session.call("isMainThread", [], FOREVER), false);
        for (let x = 0; x < 100; x++) {
          assert.equal(await peer.connection.session.call("echo", [`${x}`], FOREVER), `${x} of ${worker.threadId}`);
        }
        assert.equal(await ask("asked"), "asked by one");
        assert.equal(await close(), 0);
        assert.equal(await peer.ended, undefined);
      });
    });

    test("and one in another thread and in the main thread each have their own peers and answers", async () => {
      await withBridge({ expose: { echo: (value: string) => `${value} of main` } }, async ({ bridge, path, directory }) => {
        const threads = await Promise.all(["one", "two"].map((name) => start(directory, name, transport)));
        const main = await dial(path, { transport, name: "main", expose: { f: (text: string) => `${text} by main` } });
        const rounds = Array.from({ length: 200 }, (_, x) => `${x}`);
        await Promise.all([
          ...rounds.map(async (x) => { assert.equal(await main.connection.session.call("echo", [x], FOREVER), `${x} of main`); }),
          ...rounds.map(async (x) => { assert.equal(await bridge.call("f", [x]), `${x} by main`); }),
          ...threads.flatMap(({ worker, peer }) =>
            rounds.map(async (x) => { assert.equal(await peer.connection.session.call("echo", [x], FOREVER), `${x} of ${worker.threadId}`); }),
          ),
        ]);
        assert.deepEqual(await Promise.all(threads.map(({ ask }) => ask("hi"))), ["hi by one", "hi by two"]);
        assert.deepEqual(await Promise.all(threads.map(({ close }) => close())), [0, 0]);
      });
    });

    test("that is terminated, or that exits inside a call, fails its callers with PeerGone and harms no other", async () => {
      await withBridge({ expose: { echo: (value: string) => value } }, async ({ path, directory }) => {
        const main = await dial(path, { transport });
        const [terminated, exiting] = await Promise.all(["one", "two"].map((name) => start(directory, name, transport)));
        assert.ok(terminated !== undefined && exiting !== undefined);
        const waiting = terminated.peer.connection.session.call("never", [], FOREVER);
        // Answered after the other has arrived.
        await terminated.peer.connection.session.call("echo", [""], FOREVER);
        await Promise.all([terminated.worker.terminate(), assert.rejects(waiting, PeerGone)]);
        await assert.rejects(exiting.peer.connection.session.call("exit", [], FOREVER), PeerGone);
        assert.equal(await main.connection.session.call("echo", ["still here"], FOREVER), "still here");
      });
    });
  });
}
