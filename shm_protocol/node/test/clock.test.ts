import assert from "node:assert/strict";
import { suite, test } from "node:test";

import { CallTimeout } from "../src/errors";
import type { TransportKind } from "../src/connection_info";
import { dial, withBridge } from "./dialer";

const transports: TransportKind[] = ["shm", "socket"];

for (const transport of transports) {
  suite(`a program whose tests have their own time, over ${transport}`, () => {
    test("is served, and its calls end at their deadlines", async (context) => {
      const expose = {
        echo: (value: number) => value,
        items: function* () { yield* Array(2000).keys(); },
        never: () => new Promise(() => undefined),
      };
      await withBridge({ expose }, async ({ path }) => {
        context.mock.timers.enable();
        context.mock.method(performance, "now", () => 0);
        const { session } = (await dial(path, { transport, name: "caller" })).connection;
        assert.equal(await session.call("echo", [1], { timeoutMs: Infinity }), 1);
        await assert.rejects(session.call("never", [], { timeoutMs: 20 }), CallTimeout);
        let count = 0;
        for await (const item of session.stream("items", [], 8, { timeoutMs: Infinity })) assert.equal(item, count++);
        assert.equal(count, 2000);
        context.mock.reset();
        context.mock.timers.reset();
      });
    });
  });
}
