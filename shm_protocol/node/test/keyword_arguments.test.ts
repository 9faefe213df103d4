import assert from "node:assert/strict";
import { suite, test } from "node:test";
import vm from "node:vm";

import { EncodeError } from "../src/errors";
import type { Value } from "../src/value_types";
import { dial, withBridge } from "./dialer";

const all = (...args: Value[]): Value[] => args;

for (const transport of ["shm", "socket"] as const) {
  suite(`keyword arguments over ${transport}`, () => {
    test("a TypeScript function gets them as one object behind the others", async () => {
      await withBridge({}, async ({ bridge, path }) => {
        await dial(path, { transport, expose: { all, each: (...args: Value[]) => args.values() } });
        const kwargs = { locale: "de", "1": null, ["__proto__"]: 2 };
        assert.deepEqual(await bridge.call("all", [1], { kwargs, timeoutMs: 5000 }), [1, kwargs]);
        const items: Value[] = [];
        for await (const item of bridge.stream("each", [1], { kwargs })) items.push(item);
        assert.deepEqual(items, [1, kwargs]);
      });
    });

    test("what is undefined is not given, and an object of nothing else is none", async () => {
      await withBridge({}, async ({ bridge, path }) => {
        await dial(path, { transport, expose: { all } });
        assert.deepEqual(await bridge.call("all", [1], { kwargs: { locale: undefined, limit: null } }), [1, { limit: null }]);
        assert.deepEqual(await bridge.call("all", [1], { kwargs: { locale: undefined } }), [1]);
        assert.deepEqual(await bridge.call("all", [1], { kwargs: {} }), [1]);
        assert.deepEqual(await bridge.call("all", [], { kwargs: vm.runInNewContext("({ a: 1 })") as Record<string, unknown> }), [{ a: 1 }]);
        assert.deepEqual(await bridge.call("all", [], { kwargs: Object.assign(Object.create(null) as object, { a: 1 }) }), [{ a: 1 }]);
      });
    });

    test("a value that cannot be encoded is named by its path, and nothing is sent", async () => {
      await withBridge({}, async ({ bridge, path }) => {
        const peer = await dial(path, { transport, expose: { all } });
        const options = { kwargs: { limits: [1, () => undefined] } };
        const expected = { name: "EncodeError", message: "all: kwargs.limits[1]: a function cannot be encoded" };
        await assert.rejects(bridge.call("all", [], options), expected);
        assert.throws(() => bridge.stream("all", [], options), expected);
        assert.throws(() => { bridge.notify("all", [], options); }, expected);
        await assert.rejects(bridge.call("all", [], { kwargs: { ["\ud800"]: 1 } }), EncodeError);
        assert.deepEqual(await bridge.call("all"), []);
        assert.equal(peer.connection.served, 1);
      });
    });
  });
}

test("an older peer is sent none, and the caller is told both versions", async () => {
  await withBridge({}, async ({ bridge, path }) => {
    const peer = await dial(path, { transport: "socket", expose: { all }, minor: 1 });
    const expected = { name: "EncodeError", message: "all: keyword arguments need protocol 1.2, the peer speaks 1.1" };
    const options = { kwargs: { locale: "de" } };
    await assert.rejects(bridge.call("all", [], options), expected);
    assert.throws(() => bridge.stream("all", [], options), expected);
    assert.throws(() => { bridge.notify("all", [], options); }, expected);
    assert.deepEqual(await bridge.call("all", [1], { kwargs: {} }), [1]);
    assert.equal(peer.connection.served, 1);
  });
});
