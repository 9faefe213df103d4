import assert from "node:assert/strict";
import { beforeEach, suite, test, type TestContext } from "node:test";
import { setImmediate as turn } from "node:timers/promises";

import * as clock from "../src/clock";
import { HELD_MS } from "../src/held_loop";
import type { TransportKind } from "../src/connection_info";
import { dial, isPolled, withBridge } from "./dialer";
import type { MemoryLog } from "./pair";

const FOREVER = { timeoutMs: Infinity };
const LONG_MS = HELD_MS + 50;

/** What the clock says in these tests: however slow the machine, time passes only where a test lets it. */
let now = 1000;

beforeEach((context) => {
  (context as TestContext).mock.method(clock, "now", () => now);
});

/** Let nobody have a turn for so long. */
function hold(ms: number): string {
  now += ms;
  return "done";
}

/** The functions that the log says held the event loop, and whom they served. */
function named(log: MemoryLog): unknown[] {
  return log.lines
    .filter(({ level, message }) => level === "warn" && message.startsWith("a function held the event loop"))
    .map(({ fields }) => {
      assert.ok(Number(fields["ms"]) >= LONG_MS, String(fields["ms"]));
      return [fields["method"], fields["peer"]];
    });
}

const transports: TransportKind[] = ["shm", "socket"];

for (const transport of transports) {
  suite(`a served function that holds the event loop, over ${transport}`, () => {
    test("is named in the log, whether it returns, throws, goes on later or was only notified", async () => {
      const expose = {
        hold: () => hold(LONG_MS),
        holdAndThrow: () => { hold(LONG_MS); throw new RangeError("no"); },
        holdAndAwait: async () => { hold(LONG_MS); return Promise.resolve("later"); },
        holdNotified: () => hold(LONG_MS),
        quick: () => "quick",
      };
      await withBridge({ expose }, async ({ path, log }) => {
        const { session } = (await dial(path, { transport, name: "caller" })).connection;
        assert.equal(await session.call("hold", [], FOREVER), "done");
        assert.equal(await session.call("quick", [], FOREVER), "quick");
        await assert.rejects(session.call("holdAndThrow", [], FOREVER), /no/);
        assert.equal(await session.call("holdAndAwait", [], FOREVER), "later");
        session.notify("holdNotified", [], undefined);
        assert.equal(await session.call("quick", [], FOREVER), "quick");
        assert.deepEqual(named(log), [
          ["hold", "caller"],
          ["holdAndThrow", "caller"],
          ["holdAndAwait", "caller"],
          ["holdNotified", "caller"],
        ]);
      });
    });

    test("is not confused with those that come in the same turn, nor with what else held the loop", async () => {
      const expose = { hold: () => hold(LONG_MS), quick: () => "quick" };
      await withBridge({ expose }, async ({ bridge, path, log }) => {
        const { session } = (await dial(path, { transport, name: "caller" })).connection;
        // These wait together, while this very code holds the loop.
        const calls = ["quick", "hold", "quick"].map((method) => session.call(method, [], FOREVER));
        hold(LONG_MS);
        assert.deepEqual(await Promise.all(calls), ["quick", "done", "quick"]);
        // Idle for as long, too: the channel is parked by then.
        while (transport === "shm" && isPolled(bridge)) await turn();
        now += LONG_MS;
        assert.equal(await session.call("quick", [], FOREVER), "quick");
        await turn();
        assert.deepEqual(named(log), [["hold", "caller"]]);
      });
    });
  });
}
