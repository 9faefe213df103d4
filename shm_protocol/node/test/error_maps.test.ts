import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { types } from "node:util";

import { errorFromMap, errorToMap, MAX_PART_DEPTH, MAX_PARTS, readErrorMap } from "../src/error_maps";
import { BridgeError, type ErrorMap, mergeStacks, PeerGone, RemoteError, RemoteErrorGroup } from "../src/errors";
import { encodeErrorResponse } from "../src/frames";
import { registerError } from "../src/registered_errors";
import type { Value } from "../src/value_types";
import { Decoder, Encoder } from "../src/values";

function crossed(thrown: unknown, limit = 2 ** 26): RemoteError {
  const encoder = new Encoder();
  encodeErrorResponse(encoder, limit, 1, errorToMap(thrown));
  assert.ok(encoder.position <= limit);
  const decoder = new Decoder();
  decoder.begin(Buffer.from(encoder.buffer.subarray(0, encoder.position)), 0, encoder.position);
  const [, , fields] = decoder.value() as [number, number, Record<string, Value>];
  const error = errorFromMap(readErrorMap(new Map(Object.entries(fields))));
  assert.ok(error instanceof RemoteError);
  return error;
}

function causesOf(error: Error): string[] {
  const found: string[] = [];
  for (let cause = error.cause; cause instanceof Error; cause = cause.cause) found.push(cause.message);
  return found;
}

function chained(links: number): Error {
  let error = new Error("the first");
  for (let index = 0; index < links; index++) error = new Error(`number ${index}`, { cause: error });
  return error;
}

function counted(error: unknown): number {
  if (!(error instanceof Error)) return 0;
  const related: unknown[] = [...(error instanceof AggregateError ? (error.errors as unknown[]) : []), ...(error.cause === undefined ? [] : [error.cause])];
  return related.length + related.map(counted).reduce((sum, one) => sum + one, 0);
}

suite("causes and parts", () => {
  test("a chain of causes is sent to its depth, and one that closes a ring is told once", () => {
    assert.deepEqual(causesOf(crossed(chained(3))), ["number 1", "number 0", "the first"]);
    assert.equal(causesOf(crossed(chained(5000))).length, MAX_PART_DEPTH);
    const error = chained(1);
    (error.cause as Error).cause = error;
    assert.deepEqual(causesOf(crossed(error)), ["the first"]);
    const own = new Error("own");
    own.cause = own;
    assert.deepEqual(causesOf(crossed(own)), []);
  });

  test("of a large tree the nearest are sent", () => {
    const wide = new AggregateError(Array.from({ length: 3000 }, () => new Error("x".repeat(100_000))), "wide");
    const remote = crossed(new AggregateError([wide, new TypeError("near")], "outer", { cause: new RangeError("also near") }));
    assert.ok(remote instanceof RemoteErrorGroup);
    assert.equal(counted(remote), MAX_PARTS);
    assert.deepEqual([(remote.cause as Error).message, remote.errors[1]?.message], ["also near", "near"]);
    assert.ok(((remote.errors[0] as RemoteErrorGroup).errors[0]?.message.length ?? 0) < 10_000);
  });

  test("what is no error may be a cause or a reason, and `errors` that are none are no parts", () => {
    assert.deepEqual(causesOf(crossed(new Error("m", { cause: { code: 5 } }))), ["{ code: 5 }"]);
    const remote = crossed(new AggregateError(["text", undefined], "all"));
    assert.deepEqual((remote as unknown as RemoteErrorGroup).errors.map(({ message }) => message), ["text", "undefined"]);
    assert.equal(errorToMap(Object.assign(new Error("m"), { errors: [{ field: "age" }] })).errors, undefined);
    assert.equal(errorToMap(Object.assign(new Error("m"), { errors: [] })).errors, undefined);
    assert.equal(errorToMap(Object.assign(new Error("m"), { errors: [new Error("p")] })).errors?.length, 1);
  });

  test("data that cannot be encoded takes nothing else with it, and what does not fit goes in the order that is promised", () => {
    const make = (own: unknown, inner: unknown): Error =>
      Object.assign(new Error("outer", { cause: Object.assign(new Error("inner"), { data: inner }) }), { data: own });
    let remote = crossed(make([1], new Set()));
    assert.deepEqual([remote.data, causesOf(remote)], [[1], ["inner"]]);
    remote = crossed(make(new Set(), [2]));
    assert.deepEqual([remote.data, causesOf(remote)], [null, ["inner"]]);
    const error = make("d".repeat(500), "e".repeat(2000));
    (error.cause as Error).message = "c".repeat(2000);
    const seen = new Set<string>();
    for (let room = 12_000; room > 200; room -= 50) {
      remote = crossed(error, room);
      const cause = remote.cause as RemoteError | undefined;
      seen.add(JSON.stringify([typeof cause?.data === "string", cause !== undefined, remote.data !== null]));
      assert.equal(remote.message, "outer");
    }
    assert.deepEqual([...seen], ["[true,true,true]", "[false,true,true]", "[false,false,true]", "[false,false,false]"]);
  });

  test("a group is an AggregateError, a RemoteError and a BridgeError, and shows both stacks", () => {
    const error = errorFromMap({ code: "RemoteError", message: "m", type: "ExceptionGroup", stack: "at x.py", errors: [{ code: "Busy", message: "p" }] });
    assert.ok(error instanceof AggregateError && error instanceof RemoteErrorGroup && error instanceof RemoteError && error instanceof BridgeError);
    assert.ok(!(error instanceof PeerGone));
    assert.deepEqual([error.name, error.errors[0]?.code, error.fromPeer], ["RemoteErrorGroup", "Busy", true]);
    mergeStacks(error);
    assert.match(error.stack ?? "", /^RemoteErrorGroup: m\n.*error_maps\.test.*--- remote stack ---\nat x\.py$/s);
    assert.equal(errorToMap(error).type, "ExceptionGroup");
  });
});

suite("registered classes", () => {
  class AgeError extends Error {
    override name = "AgeError";
    constructor() {
      super("");
      assert.fail("the constructor has run");
    }
    get data(): unknown { return assert.fail("data has run"); }
    set type(_value: unknown) { assert.fail("a setter has run"); }
    get remoteStack(): unknown { return assert.fail("remoteStack has run"); }
    get lower(): string { return this.message.toLowerCase(); }
  }
  registerError("test.AgeError", AgeError);
  registerError("test.TypeError", TypeError);
  class Plain extends Error {}
  registerError("Plain", Plain);

  test("what arrives is of the class and a RemoteError, and runs nothing of the class", () => {
    const cause: ErrorMap = { code: "RemoteError", message: "c", type: "test.TypeError" };
    const error = errorFromMap({ code: "RemoteError", message: "NO", type: "test.AgeError", stack: "at x.py", data: [1], cause, errors: [cause] });
    assert.ok(error instanceof RemoteError && error instanceof BridgeError && !(error instanceof PeerGone));
    assert.deepEqual([error.type, error.message, error.data, error.remoteStack, error.code, error.fromPeer], ["test.AgeError", "NO", [1], "at x.py", "RemoteError", true]);
    assert.ok((error as unknown) instanceof AgeError && types.isNativeError(error));
    assert.equal((error as unknown as AgeError).lower, "no");
    assert.ok(error.cause instanceof TypeError && error.cause instanceof RemoteError);
    assert.ok((error as unknown as AggregateError).errors[0] instanceof TypeError);
    mergeStacks(error);
    assert.match(error.stack ?? "", /^AgeError: NO\n.*--- remote stack ---\nat x\.py$/s);
    assert.equal(errorToMap(error).type, "test.AgeError");
  });

  test("the name that is sent is that of the nearest registered class", () => {
    assert.equal(errorToMap(new (class Derived extends Plain {})("m")).type, "Plain");
    assert.equal(errorToMap(new TypeError("m")).type, "test.TypeError");
    assert.equal(errorToMap(new RangeError("m")).type, "RangeError");
    const other = { Plain: class Plain extends Error {} };
    assert.equal(errorToMap(new other.Plain("m")).type, "Plain (another class)");
  });

  test("what cannot be registered is refused with its name", () => {
    class Free extends Error {}
    const refused = [
      [5, Free, TypeError, "a name that is not a string: a number"],
      ["", Free, RangeError, "a name of 0 bytes: must be 1 to 256"],
      ["ä".repeat(129), Free, RangeError, "a name of 258 bytes: must be 1 to 256"],
      ["\ud800", Free, RangeError, '"\\ud800": a lone surrogate cannot be sent'],
      ["PeerGone", Free, RangeError, "PeerGone: is the bridge's own error"],
      ["Plain", Free, RangeError, "Plain: Plain is registered under this name already"],
      ["test.Other", Plain, RangeError, "test.Other: Plain is registered as Plain already"],
      ["n", Map, TypeError, "n: Map must be a class of errors, derived from Error"],
      ["n", new Free("m"), TypeError, "n: an object must be a class of errors, derived from Error"],
      ["n", () => 1, TypeError, "n: a class without a name must be a class of errors, derived from Error"],
      ["n", PeerGone, TypeError, "n: PeerGone has a meaning of its own: derive another class"],
      ["n", BridgeError, TypeError, "n: BridgeError has a meaning of its own: derive another class"],
      ["n", RemoteErrorGroup, TypeError, "n: RemoteErrorGroup has a meaning of its own: derive another class"],
      ["n", Error, TypeError, "n: Error is what every RemoteError, or group, is already"],
      ["n", AggregateError, TypeError, "n: AggregateError is what every RemoteError, or group, is already"],
    ] as const;
    for (const [name, kind, type, said] of refused) {
      assert.throws(() => { registerError(name as string, kind as unknown as typeof Error); }, (error) => error instanceof type && error.message === `registerError: ${said}`, said);
    }
    registerError("Plain", Plain);
    assert.equal(errorFromMap({ code: "RemoteError", message: "m", type: "n" }).constructor, RemoteError);
  });
});
