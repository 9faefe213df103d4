/** Whatever a value does while it is encoded: what is sent is a message, or the sender gets an EncodeError with the path. */

import assert from "node:assert/strict";
import { suite, test } from "node:test";
import vm from "node:vm";

import { EncodeError, MessageTooLarge, ProtocolError } from "../src/errors";
import { NdArray } from "../src/value_types";
import { acquireEncoder, decode, encode, MAX_VALUES, releaseEncoder } from "../src/values";
import fc from "./fast_check";

const roundTrip = (value: unknown): unknown => decode(encode(value));
const boom = (): never => { throw new TypeError("boom"); };
const BOOM = "looking at it raised TypeError: boom";

/** `structuredClone` with a transfer is the way to take the memory away from an array. */
function detach(buffer: ArrayBuffer): void {
  structuredClone(buffer, { transfer: [buffer] });
}

/** A buffer of Node 20's that can change its size; the types of our oldest TypeScript do not know it. */
function resizable(bytes: number, most: number): ArrayBuffer & { resize(bytes: number): void } {
  const make = ArrayBuffer as unknown as new (bytes: number, options: object) => ArrayBuffer & { resize(bytes: number): void };
  return new make(bytes, { maxByteLength: most });
}

suite("values that raise when they are looked at", () => {
  const revoked = (): unknown => {
    const { proxy, revoke } = Proxy.revocable({}, {});
    revoke();
    return proxy;
  };
  class FailingMap extends Map {
    override *[Symbol.iterator](): MapIterator<[unknown, unknown]> {
      yield ["a", 1];
      boom();
    }
  }
  const cases: [string, unknown, string][] = [
    ["a getter", { a: [1, { get b(): never { return boom(); } }] }, `value.a[1].b: ${BOOM}`],
    ["an item's getter", Object.defineProperty([1, 2], 1, { get: boom }), `value[1]: ${BOOM}`],
    ["an iterator", { m: new FailingMap() }, `value.m: ${BOOM}`],
    ["a proxy that gives no keys", [new Proxy({}, { ownKeys: boom })], `value[0]: ${BOOM}`],
    ["a proxy that gives no prototype", [new Proxy({}, { getPrototypeOf: boom })], `value[0]: ${BOOM}`],
    ["a proxy that gives no length", [new Proxy([], { get: boom })], `value[0]: ${BOOM}`],
    ["a tag", [Object.assign(Object.create(vm.runInNewContext("Object.prototype") as object), { get [Symbol.toStringTag]() { return "x"; } })], "value[0]: an object of class Object cannot be encoded"],
  ];
  for (const [name, value, message] of cases) {
    test(`${name}: an EncodeError says where, and what was raised`, () => {
      assert.throws(() => encode(value), (error) => error instanceof EncodeError && error.message === message);
    });
  }

  test("a revoked proxy", () => {
    assert.throws(() => encode([revoked()]), /^EncodeError: value\[0\]: looking at it raised TypeError: .* proxy that has been revoked/);
  });

  test("what was raised is the cause, whatever it is", () => {
    const raised = new Proxy({}, { get: boom, getPrototypeOf: boom, has: boom, ownKeys: boom });
    // eslint-disable-next-line @typescript-eslint/only-throw-error
    const value = { get a(): never { throw raised; } };
    assert.throws(() => encode(value), (error) => error instanceof EncodeError && error.cause === raised);
  });

  test("an error of the bridge's from a getter is no answer of the encoder's", () => {
    const value = { get a(): never { throw new MessageTooLarge("not of this message"); } };
    assert.throws(() => encode(value), /^EncodeError: value\.a: looking at it raised MessageTooLarge: not of this message/);
    const inner = { get a(): unknown { return encode({ s: Symbol("x") }); } };
    assert.throws(() => encode(inner), /^EncodeError: value\.a: looking at it raised EncodeError: value\.s: a symbol cannot be encoded/);
  });
});

suite("values that are not what they seem", () => {
  class Visible extends Map<string, unknown> {
    override *[Symbol.iterator](): MapIterator<[string, unknown]> {
      for (const entry of super[Symbol.iterator]()) if (!entry[0].startsWith("_")) yield entry;
    }
  }

  test("a Map is sent as its iterator shows it, however many entries it has", () => {
    const shown = new Visible([["a", 1], ["_b", 2]]);
    assert.deepEqual(roundTrip(["before", shown, "after"]), ["before", { a: 1 }, "after"]);
    const many = new Visible(Array.from({ length: 20 }, (_, index) => [`${index === 0 ? "" : "_"}k${index}`, index]));
    assert.deepEqual(roundTrip([many, "after"]), [{ k0: 0 }, "after"]);
    class More extends Map<string, number> {
      override *[Symbol.iterator](): MapIterator<[string, number]> {
        for (let index = 0; index < 70_000; index++) yield [`k${index}`, index];
      }
    }
    const [more, after] = roundTrip([new More(), "after"]) as [Record<string, number>, string];
    assert.equal(Object.keys(more).length, 70_000);
    assert.equal(more["k69999"], 69_999);
    assert.equal(after, "after");
  });

  test("an iterator without an end, and one of no entries", () => {
    class Endless extends Map<number, null> {
      override *[Symbol.iterator](): MapIterator<[number, null]> {
        for (let key = 0; ; key++) yield [key, null];
      }
    }
    assert.throws(() => encode(new Endless()), MessageTooLarge);
    class Crooked extends Map {
      override *[Symbol.iterator](): MapIterator<[unknown, unknown]> {
        yield 5 as never;
      }
    }
    assert.throws(() => encode(new Crooked()), /EncodeError: value: looking at it raised TypeError/);
  });

  test("a subclass may say what it likes of its size, length, time and tag", () => {
    class Sized extends Map<string, number> { override get size(): number { return 7; } }
    class Short extends Uint8Array { override get length(): number { return 1; } override get byteLength(): number { return 1; } }
    class Floats extends Float64Array { override get [Symbol.toStringTag]() { return "Int8Array" as "Float64Array"; } override get length(): number { return 99; } }
    class Timeless extends Date { override getTime(): number { return NaN; } }
    assert.deepEqual(roundTrip(new Sized([["a", 1]])), { a: 1 });
    assert.deepEqual(roundTrip([new Short([1, 2, 3]), "after"]), [new Uint8Array([1, 2, 3]), "after"]);
    assert.deepEqual(roundTrip(new Floats([1.5, 2])), Float64Array.from([1.5, 2]));
    assert.deepEqual(roundTrip(new Timeless(5)), new Date(5));
  });

  test("what has only the prototype of a Map, a Date or bytes is an EncodeError", () => {
    for (const type of [Map, Date, Uint8Array, Float64Array, NdArray, Set, Promise]) {
      assert.throws(() => encode([Object.create(type.prototype as object)]), /^EncodeError: value\[0\]: /, type.name);
    }
    for (const target of [new Map(), new Date(5), new Uint8Array(1), new Float64Array(1), new Set(), vm.runInNewContext("new Map()") as object]) {
      assert.throws(() => encode([new Proxy(target, {})]), /^EncodeError: value\[0\]: /);
    }
  });

  test("an array whose length is none", () => {
    for (const length of [-1, 1.5, NaN, "2", 2 ** 32, {}, null]) {
      const value = new Proxy([1], { get: (array, key) => (key === "length" ? length : Reflect.get(array, key) as unknown) });
      assert.throws(() => encode([value]), /^EncodeError: value\[0\]: an array whose length is .* cannot be encoded$/);
    }
  });

  test("an array or an object that answers otherwise at each look", () => {
    let looks = 0;
    const value = new Proxy([1, 2, 3], { get: (array, key) => (key === "length" ? 3 : key === "1" ? ++looks : Reflect.get(array, key) as unknown) });
    assert.deepEqual(roundTrip([value, "after"]), [[1, 1, 3], "after"]);
    const object = new Proxy({}, { ownKeys: () => ["a", "b"], getOwnPropertyDescriptor: () => ({ enumerable: true, configurable: true }) });
    assert.deepEqual(roundTrip([object, "after"]), [{ a: null, b: null }, "after"]);
  });

  test("an NdArray whose shape or data has changed since it was made", () => {
    const array = new NdArray(new Int8Array(4), [2, 2]);
    (array.shape as number[])[0] = 3;
    assert.throws(() => encode([array]), /^EncodeError: value\[0\]: an NdArray with a wrong shape \(shape \[3, 2\] has 6 elements, data has 4\) cannot be encoded$/);
    (array as { shape: unknown }).shape = new Array(1e9);
    assert.throws(() => encode([array]), /^EncodeError: value\[0\]: an NdArray with a wrong shape/);
    (array as { data: unknown }).data = [1, 2, 3, 4];
    assert.throws(() => encode([array]), /^EncodeError: value\[0\]: an NdArray whose data is an object of class Array cannot be encoded$/);
  });

  test("toJSON, symbols and what is not enumerable are not looked at", () => {
    const value = Object.defineProperty({ a: 1, [Symbol("s")]: boom }, "hidden", { get: boom, enumerable: false });
    Object.defineProperty(value, "toJSON", { value: boom, enumerable: false });
    assert.deepEqual(roundTrip(value), { a: 1 });
  });

  test("keys and containers of another realm", () => {
    assert.deepEqual(
      roundTrip(vm.runInNewContext("new Map([[new Uint8Array([1]), [new Map([['a', new Date(5)]])]]])")),
      new Map([[new Uint8Array([1]), [{ a: new Date(5) }]]]),
    );
    assert.deepEqual(roundTrip(vm.runInNewContext("Object.assign(Object.create(null), {a: new BigInt64Array([1n])})")), { a: BigInt64Array.from([1n]) });
  });
});

suite("values that change while they are encoded", () => {
  test("an array that shrinks or grows, an object that loses properties, a Map that is added to", () => {
    const shrinking: unknown[] = [{ get a() { shrinking.length = 1; return 1; } }, 2, 3];
    assert.deepEqual(roundTrip([shrinking, "after"]), [[{ a: 1 }, null, null], "after"]);
    const growing: unknown[] = [{ get a() { growing.push(growing); return 1; } }];
    assert.deepEqual(roundTrip([growing, "after"]), [[{ a: 1 }], "after"]);
    const losing: Record<string, unknown> = { get a() { delete losing["b"]; return 1; }, b: 2 };
    assert.deepEqual(roundTrip([losing, "after"]), [{ a: 1, b: null }, "after"]);
    const map = new Map<string, unknown>([["a", { get a() { map.set("c", 3); return 1; } }], ["b", 2]]);
    assert.deepEqual(roundTrip([map, "after"]), [{ a: { a: 1 }, b: 2, c: 3 }, "after"]);
    const cleared = new Map<string, unknown>([["a", { get a() { cleared.clear(); return 1; } }], ["b", 2]]);
    assert.deepEqual(roundTrip([cleared, "after"]), [{ a: { a: 1 } }, "after"]);
  });

  test("bytes and numbers whose memory is taken away are an EncodeError, empty ones are not", () => {
    for (const array of [new Uint8Array(8), new Float64Array(8), new Uint8ClampedArray(8)]) {
      detach(array.buffer);
      assert.throws(() => encode([array]), (error) => error instanceof EncodeError && error.message === `value[0]: a ${array.constructor.name} whose memory is gone cannot be encoded`);
    }
    const later = new Uint8Array(100).fill(7);
    assert.throws(() => encode([{ get a() { detach(later.buffer); return 1; } }, later]), /EncodeError: value\[1\]: a Uint8Array whose memory is gone/);
    const nd = new NdArray(new Int16Array(4), [2, 2]);
    detach(nd.data.buffer);
    assert.throws(() => encode(nd), EncodeError);
    assert.deepEqual(roundTrip([new Uint8Array(0), new Float64Array(0)]), [new Uint8Array(0), new Float64Array(0)]);
  });

  test("a resizable buffer: views that follow it, and one that it has left behind", () => {
    const buffer = resizable(8, 64);
    const [following, fixed] = [new Uint8Array(buffer), new Uint16Array(buffer, 4, 2)];
    const grow = { get a() { buffer.resize(24); return 1; } };
    assert.deepEqual(roundTrip([grow, following]), [{ a: 1 }, new Uint8Array(24)]);
    buffer.resize(6);
    assert.deepEqual(roundTrip(following), new Uint8Array(6));
    assert.throws(() => encode([fixed]), /EncodeError: value\[0\]: a Uint16Array whose memory is gone/);
  });

  test("a getter may encode and fail, and encode again", () => {
    const inner = { get a(): unknown { assert.throws(() => encode(Symbol("x"))); return roundTrip(["inner"]); } };
    assert.deepEqual(roundTrip([inner, inner, "after"]), [{ a: ["inner"] }, { a: ["inner"] }, "after"]);
    const encoder = acquireEncoder();
    assert.deepEqual(roundTrip([inner]), [{ a: ["inner"] }]);
    releaseEncoder(encoder);
  });
});

suite("values whose every hook does anything, at random", () => {
  // What a hook may do, drawn anew at each call.
  const deed = fc.integer({ min: 0, max: 7 });
  test("are encoded to one value, or are an EncodeError or a MessageTooLarge", () => {
    fc.assert(
      fc.property(fc.array(deed, { minLength: 1, maxLength: 40 }), fc.integer({ min: 0, max: 5 }), (deeds, kind) => {
        let turn = 0;
        const containers: unknown[] = [];
        const act = (honest: () => unknown): unknown => {
          switch (deeds[turn++ % deeds.length]) {
            case 0: return boom();
            case 1: throw Object.create(null);
            case 2: return undefined;
            case 3: return turn < 200 ? containers[turn % containers.length] : 1;
            case 4: for (const container of containers) if (Array.isArray(container) && turn < 500) container.push(turn); return honest();
            case 5: encode([turn]); return honest();
            default: return honest();
          }
        };
        const handler: ProxyHandler<object> = {
          get: (target, key, receiver) => act(() => Reflect.get(target, key, receiver)),
          ownKeys: (target) => act(() => Reflect.ownKeys(target)) as string[],
          getPrototypeOf: (target) => act(() => Reflect.getPrototypeOf(target)) as object | null,
          getOwnPropertyDescriptor: (target, key) => act(() => Reflect.getOwnPropertyDescriptor(target, key)) as PropertyDescriptor,
        };
        class Wild extends Map<unknown, unknown> {
          override *[Symbol.iterator](): MapIterator<[unknown, unknown]> {
            for (const entry of super[Symbol.iterator]()) yield act(() => entry) as [unknown, unknown];
          }
        }
        containers.push([1, 2, 3], new Proxy([1, "two"], handler), new Proxy({ a: 1, b: [2] }, handler), new Wild([["a", 1], [2, "b"]]));
        containers.push({ get a() { return act(() => "x"); }, b: containers[kind % 4] });
        containers.push(new Proxy(new NdArray(new Int8Array(4), [2, 2]), handler));
        try {
          decode(encode(["before", containers[kind], "after"], 1 << 20));
        } catch (error) {
          assert.ok(!(error instanceof ProtocolError), `a message that is none: ${String(error)}`);
          assert.ok(error instanceof EncodeError || error instanceof MessageTooLarge, String(error));
        }
        assert.deepEqual(roundTrip({ a: [1] }), { a: [1] });
      }),
      { numRuns: 2000 },
    );
  });
});

suite("how many values", () => {
  const nils = (count: number): unknown[] => new Array<null>(count).fill(null);
  const wire = (count: number, unit: string): Buffer => {
    const header = Buffer.from([0xdd, 0, 0, 0, 0]);
    header.writeUInt32BE(count, 1);
    return Buffer.concat([header, Buffer.alloc((count * unit.length) / 2, unit, "hex")]);
  };

  test("MAX_VALUES can be sent and received, one more cannot", () => {
    assert.equal((roundTrip(nils(MAX_VALUES - 1)) as unknown[]).length, MAX_VALUES - 1);
    const text = /^MessageTooLarge: the message has more than 1048576 values: send numbers as a typed array, or several messages$/;
    assert.throws(() => encode(nils(MAX_VALUES)), text);
    assert.throws(() => decode(wire(MAX_VALUES, "c0")), /^ProtocolError: .*more than 1048576 values/);
  });

  test("keys count, and so do the parts of what is nested", () => {
    const half = MAX_VALUES / 2;
    assert.throws(() => encode([nils(half), nils(half)]), MessageTooLarge);
    assert.throws(() => encode(new Map(Array.from({ length: half }, (_, key) => [key, null]))), MessageTooLarge);
    assert.throws(() => decode(wire(MAX_VALUES / 4, "82c0c001c0")), /more than 1048576 values/);
    assert.throws(() => encode(Object.assign([], { length: 2 ** 32 - 1 })), MessageTooLarge);
  });

  test("a length that the rest of the message cannot have is refused before anything is made of it", () => {
    for (const header of ["dd00010000", "df00008000", "dc0100c0", "de0080c0"]) {
      assert.throws(() => decode(Buffer.from(header, "hex")), /^ProtocolError: .* cut short/);
    }
  });

  test("numbered keys far apart take the room of what they are, and are what was sent", () => {
    const sent = Object.fromEntries(Array.from({ length: 50 }, (_, index) => [String(index * 1000), index]));
    assert.deepEqual(roundTrip(sent), sent);
    assert.deepEqual(roundTrip({ 4294967294: 1, 4294967295: 2, "007": 3, "1e3": 4, 999: 5 }), { 4294967294: 1, 4294967295: 2, "007": 3, "1e3": 4, 999: 5 });
    assert.deepEqual(Object.keys(roundTrip({ 999: 5, a: 1 }) as object), ["999", "a"]);
    const before = process.memoryUsage().heapTotal;
    const many = decode(wire(100_000, "81a3393939c0")) as unknown[];
    assert.ok(process.memoryUsage().heapTotal - before < 400 * 2 ** 20, "12 KiB for each of them");
    assert.deepEqual(many[99_999], { 999: null });
  });
});
