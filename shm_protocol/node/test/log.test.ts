import assert from "node:assert/strict";
import { test } from "node:test";

import { stderrLogger } from "../src/log";
import { dial, withBridge } from "./dialer";

test("a program whose stderr cannot be written to still serves who connects", async (context) => {
  await withBridge({ expose: { echo: (value: number) => value }, log: stderrLogger }, async ({ path }) => {
    context.mock.method(process.stderr, "write", () => { throw new Error("closed"); });
    const { session } = (await dial(path, { transport: "shm", name: "caller" })).connection;
    assert.equal(await session.call("echo", [1], { timeoutMs: Infinity }), 1);
    context.mock.reset();
  });
});
