import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { inspect } from "node:util";

import { EncodeError, ProtocolError, Released, UnknownMethod } from "../src/errors";
import * as frames from "../src/frames";
import { type Callback, type Handle, isHandle, type RemoteMethod } from "../src/references";
import type { SessionCallOptions } from "../src/session";
import { Encoder, FUNCTION, OBJECT, Reference, RETURNED } from "../src/values";
import { End, Pair } from "./pair";

const FOREVER: SessionCallOptions = { timeoutMs: Infinity };
const HANDLES: SessionCallOptions = { timeoutMs: Infinity, meta: { handles: true } };

class Model {
  calls = 0;
  fail(): void {
    throw new RangeError("too much");
  }
  predict(text: string): string {
    return `${++this.calls} ${text}`;
  }
  itself(): this {
    return this;
  }
}

const model = new Model();
const kept: Callback[] = [];
const noted: unknown[] = [];

const exposed = {
  f: {
    apply: (callback: Callback, ...args: unknown[]) => callback(...args),
    unawaited: (callback: Callback) => { void callback(1).then((value) => noted.push(value)); },
    keep: (callback: Callback) => { kept.push(callback); },
    hold: (callback: Callback) => { kept.push(callback.hold().hold()); },
    giveBack: (callback: Callback) => callback,
    hang: (callback: Callback) => { kept.push(callback); return new Promise(() => undefined); },
    model: () => model,
    isModel: (value: { deep: unknown[] }) => value.deep[0] === model,
    closures: () => ({ one: () => 1 }),
    strange: (index: number) => [new Set([1]), [new Model()], { deep: { one: () => 1 } }, Model, Symbol("s"), Promise.resolve(new Set())][index],
  },
};

async function settle<T>(pair: Pair, promise: Promise<T>): Promise<T> {
  promise.catch(() => undefined);
  await pair.run();
  return promise;
}

function pairOf(): Pair {
  kept.length = noted.length = 0;
  return new Pair({}, exposed);
}

function assertNothing(pair: Pair): void {
  for (const end of [pair.near, pair.far]) assert.deepEqual(end.session.lending.counts, { lent: 0, held: 0 });
}

suite("what one side lends to the other", () => {
  test("a function is lent for its call, and called as part of it", async () => {
    const pair = pairOf();
    const add = (a: number, b: number): number => a + b;
    assert.equal(await settle(pair, pair.near.session.call("f.apply", [add, 1, 2], FOREVER)), 3);
    assertNothing(pair);
  });

  test("what stands beside a function is looked at once", async () => {
    const pair = pairOf();
    let looks = 0;
    const looked = { get name() { return `look ${++looks}`; } };
    const called = pair.near.session.call("f.apply", [(value: unknown) => value, looked], FOREVER);
    assert.deepEqual(await settle(pair, called), { name: "look 1" });
  });

  test("a call that nobody awaits is made all the same", async () => {
    const pair = pairOf();
    await settle(pair, pair.near.session.call("f.unawaited", [(n: number) => n + 1], FOREVER));
    assert.deepEqual(noted, [2]);
  });

  test("a function after its time is Released, and so is its hold()", async () => {
    const pair = pairOf();
    const onDone = (): number => 1;
    await settle(pair, pair.near.session.call("f.keep", [onDone], FOREVER));
    await assert.rejects(async () => kept[0]?.(), new Released("onDone: the call that this function was given to has ended; call its hold() before that to keep it"));
    assert.throws(() => kept[0]?.hold(), Released);
    kept[0]?.release();
    assertNothing(pair);
  });

  test("a function that is held is called later, until it is released", async () => {
    const pair = pairOf();
    await settle(pair, pair.near.session.call("f.hold", [(n: number) => n * 2], FOREVER));
    assert.equal(await settle(pair, (kept[0] as Callback)(21)), 42);
    kept[0]?.release();
    await pair.run();
    assertNothing(pair);
  });

  test("a call that is given up takes its functions with it", async () => {
    const pair = pairOf();
    const controller = new AbortController();
    const call = pair.near.session.call("f.hang", [() => 1], { ...FOREVER, signal: controller.signal });
    call.catch(() => undefined);
    await pair.run();
    controller.abort();
    await pair.run();
    assertNothing(pair);
    await assert.rejects(async () => kept[0]?.(), Released);
  });

  test("an object is lent to who takes handles, and is itself where it comes back", async () => {
    const pair = pairOf();
    const handle = (await settle(pair, pair.near.session.call("f.model", [], HANDLES))) as unknown as Handle<{ predict: RemoteMethod; itself: RemoteMethod }>;
    assert.ok(isHandle(handle));
    assert.equal(handle.predict, handle.predict);
    const before = model.calls;
    assert.equal(await settle(pair, handle.predict("a")), `${before + 1} a`);
    const again = await settle(pair, handle.itself());
    assert.ok(isHandle(again));
    assert.equal(await settle(pair, pair.near.session.call("f.isModel", [{ deep: [handle] }], FOREVER)), true);
    handle.dispose();
    (handle as Disposable)[Symbol.dispose]();
    again.dispose();
    await pair.run();
    assertNothing(pair);
    await assert.rejects(handle.predict("b"), new Released("Model.predict: it has been released"));
    await assert.rejects(
      async () => { await pair.near.session.call("f.isModel", [{ deep: [handle] }], FOREVER); },
      new EncodeError("f.isModel: args[0].deep[0]: what stands for Model of the peer's, which has been released, cannot be encoded"),
    );
  });

  test("what a method of it throws has the stack of who called it, above the other side's", async () => {
    const pair = pairOf();
    const handle = await settle(pair, pair.near.session.call("f.model", [], HANDLES)) as unknown as Handle<Record<"fail", RemoteMethod>>;
    const askForTooMuch = async (): Promise<void> => { await handle.fail(); };
    const error = await settle(pair, askForTooMuch()).catch((thrown: unknown) => thrown as Error);
    assert.match((error as Error).stack ?? "", /askForTooMuch[^]*--- remote stack ---[^]*RangeError: too much\n *at Model\.fail/);
  });

  test("a handle is shown as what it is, without asking the other side", async () => {
    const pair = pairOf();
    const handle = await settle(pair, pair.near.session.call("f.model", [], HANDLES)) as unknown as Handle;
    assert.equal(inspect({ handle }), "{ handle: Handle of Model }");
    handle.dispose();
    assert.equal(inspect(handle), "Handle of Model, released");
    await pair.run();
    assertNothing(pair);
  });

  test("an object of functions is lent, and what is a value or refused as one is not", async () => {
    const pair = pairOf();
    const closures = (await settle(pair, pair.near.session.call("f.closures", [], HANDLES))) as unknown as Handle<{ one: RemoteMethod }>;
    assert.equal(await settle(pair, closures.one()), 1);
    closures.dispose();
    await pair.run();
    for (let index = 0; index < 6; index++) {
      await assert.rejects(settle(pair, pair.near.session.call("f.strange", [index], HANDLES)), EncodeError, String(index));
    }
    await assert.rejects(settle(pair, pair.near.session.call("f.model", [], FOREVER)), EncodeError);
    assertNothing(pair);
  });

  test("the handle of an answer that came late is let go of", async () => {
    const pair = pairOf();
    const controller = new AbortController();
    const call = pair.near.session.call("f.model", [], { ...HANDLES, signal: controller.signal });
    call.catch(() => undefined);
    for (const message of pair.near.sent.splice(0)) pair.far.receive(message);
    controller.abort();
    await pair.run();
    assert.equal(pair.near.session.lateAnswers, 1);
    assertNothing(pair);
  });

  test("what came by another connection is not sent", async () => {
    const [one, other] = [pairOf(), new Pair({}, exposed)];
    const handle = await settle(one, one.near.session.call("f.model", [], HANDLES));
    await assert.rejects(
      async () => { await other.near.session.call("f.isModel", [handle], FOREVER); },
      new EncodeError("f.isModel: args[0]: what stands for Model of the peer's, which came by another connection, cannot be encoded"),
    );
  });

  test("a function that lets nobody look at it is refused, and the function beside it is not lent", async () => {
    const pair = pairOf();
    const { proxy, revoke } = Proxy.revocable(() => 1, {});
    revoke();
    const call = pair.near.session.call("f.apply", [() => 1, proxy], FOREVER);
    await assert.rejects(settle(pair, call), /^EncodeError: f\.apply: args\[1\]: looking at it raised TypeError: .* revoked/);
    assertNothing(pair);
  });

  test("a function to a peer that knows none is refused here", async () => {
    const end = new End({ now: 0 }, "old", {}, 1_000_000, 1);
    await assert.rejects(
      async () => { await end.session.call("m.f", [1, () => 1], FOREVER); },
      new EncodeError("m.f: args[1]: functions as arguments need protocol 1.2, the peer speaks 1.1"),
    );
  });

  test("the end of the connection releases all", async () => {
    const pair = pairOf();
    await settle(pair, pair.near.session.call("f.hold", [() => 1], FOREVER));
    for (const end of [pair.near, pair.far]) end.session.end("it is over", false);
    assertNothing(pair);
    await assert.rejects(async () => kept[0]?.(), /it is over/);
    kept[0]?.release();
  });
});

suite("a peer that lies about what is lent", () => {
  const message = (encode: (encoder: Encoder) => void): Buffer => {
    const encoder = new Encoder();
    encode(encoder);
    return Buffer.from(encoder.buffer.subarray(0, encoder.position));
  };
  const request = (id: number, ...args: unknown[]): Buffer =>
    message((encoder) => { frames.encodeRequest(encoder, 1_000_000, id, "m.f", args, undefined); });

  for (const [fault, sent] of [
    ["a release of 1, which was never lent", message((encoder) => { frames.encodeRelease(encoder, [1]); })],
    ["a hold of 7, which was never lent", message((encoder) => { frames.encodeHold(encoder, [7]); })],
    ["a reference to 1, which was never lent", request(1, new Reference(RETURNED, 1))],
    ["a second reference with id 1", request(1, new Reference(FUNCTION, 1, "f"), new Reference(OBJECT, 1, "T"))],
    [
      "a notification of m.f with a function or an object",
      message((encoder) => { frames.encodeNotification(encoder, 1_000_000, "m.f", [new Reference(FUNCTION, 1)], undefined); }),
    ],
  ] as const) {
    test(fault, () => {
      const end = new End({ now: 0 }, "liar", {});
      end.receive(sent);
      assert.ok(end.error instanceof ProtocolError);
      assert.equal(end.error.message, fault);
    });
  }

  test("a name that nothing was lent by is unknown", () => {
    const end = new End({ now: 0 }, "liar", {});
    void end.session.call("m.f", [() => 1], FOREVER).catch(() => undefined);
    for (const name of ["1.", "1.x", "2", "0", "-1", "1 ", "01", "x", "", "9".repeat(40), "١", "1e0", "1.5"]) {
      assert.throws(() => end.session.lending.find(`shm_polyglot.ref.${name}`), UnknownMethod, name);
    }
    assert.ok(end.session.lending.find("shm_polyglot.ref.1") !== undefined);
    assert.equal(end.session.lending.find("shm_polyglot.connections"), undefined);
  });
});
