import assert from "node:assert/strict";
import { suite, test } from "node:test";
import vm from "node:vm";

import { EncodeError, MessageTooLarge, ProtocolError } from "../src/errors";
import { NdArray } from "../src/value_types";
import { decode, Decoder, encode, Encoder, releaseEncoder, acquireEncoder } from "../src/values";
import fc from "./fast_check";
import { type BadVector, readVectors, untag, type ValueVector } from "./tagged";

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");
const roundTrip = (value: unknown): unknown => decode(encode(value));
const nested = (depth: number): unknown => {
  let value: unknown = null;
  for (let level = 0; level < depth; level++) value = [value];
  return value;
};

suite("the vectors", () => {
  for (const vector of readVectors("values") as ValueVector[]) {
    test(`decodes ${vector.name}`, () => {
      assert.deepEqual(decode(Buffer.from(vector.wire, "hex")), untag(vector.value));
    });
    if (vector.encode.includes("typescript")) {
      test(`encodes ${vector.name}`, () => {
        assert.equal(hex(encode(untag(vector.value))), vector.wire);
      });
    }
  }
  for (const vector of (readVectors("bad") as BadVector[]).filter((bad) => bad.of === "value")) {
    test(`refuses ${vector.name}`, () => {
      assert.throws(() => decode(Buffer.from(vector.wire, "hex")), ProtocolError);
    });
  }
});

suite("properties", () => {
  const scalar = fc.oneof(
    fc.constant(null),
    fc.boolean(),
    fc.double().map((float) => (Object.is(float, -0) ? -0 : float)),
    fc.maxSafeInteger(),
    fc.bigInt({ min: 2n ** 53n, max: 2n ** 64n - 1n }),
    fc.bigInt({ min: -(2n ** 63n), max: -(2n ** 53n) }),
    fc.string({ unit: "binary" }),
    fc.uint8Array().map((bytes) => new Uint8Array(bytes)),
    fc.date({ min: new Date("0001-01-01T00:00:00Z"), max: new Date("9999-12-31T23:59:59.999Z"), noInvalidDate: true }),
    fc.float64Array().map((array) => Float64Array.from(array)),
    fc.int16Array().map((array) => Int16Array.from(array)),
    fc.bigInt64Array().map((array) => BigInt64Array.from(array)),
  );
  const value = fc.letrec((tie) => ({
    value: fc.oneof({ maxDepth: 5 }, scalar, fc.array(tie("value")), fc.dictionary(fc.string(), tie("value"), { noNullPrototype: true })),
  })).value;

  test("every value comes back as it was sent", () => {
    fc.assert(fc.property(value, (sent) => { assert.deepEqual(roundTrip(sent), sent); }), { numRuns: 500 });
  });

  test("a large text comes back as it was sent, whatever its characters and wherever the first that is not ASCII", () => {
    for (const length of [0xfffe, 0xffff, 0x1_0000, 0x1_0001, 0xf_bee8, 0xf_bee9, 1 << 20]) {
      const ascii = "0123456789abcdef".repeat(1 + length / 16).slice(0, length);
      for (const text of [ascii, `é${ascii.slice(1)}`, `${ascii.slice(1)}€`, `${ascii.slice(2)}😀`, ascii.replaceAll("a", "é"), ascii.replaceAll("a", "\ufffd")]) {
        assert.ok(decode(encode(text)) === text);
        assert.ok(Buffer.from(encode(text)).subarray(-Buffer.byteLength(text)).equals(Buffer.from(text)));
      }
      assert.throws(() => encode([`${ascii}\ud800`]), { name: "EncodeError", message: /\[0\]: a string with a lone surrogate/ });
      const broken = Buffer.from(encode(ascii));
      broken[broken.length - 1] = 0x80;
      assert.throws(() => decode(broken), { name: "ProtocolError", message: /not UTF-8/ });
    }
  });

  test("no bytes do anything but decode or raise a ProtocolError", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        try {
          decode(bytes);
        } catch (error) {
          assert.ok(error instanceof ProtocolError, String(error));
        }
      }),
      { numRuns: 3000 },
    );
  });

  test("no prefix of a value decodes", () => {
    fc.assert(
      fc.property(value, fc.nat(), (sent, cut) => {
        const bytes = encode(sent);
        assert.throws(() => decode(bytes.subarray(0, cut % bytes.length)), ProtocolError);
      }),
    );
  });

  test("one changed byte never breaks the decoder", () => {
    fc.assert(
      fc.property(value, fc.nat(), fc.integer({ min: 1, max: 255 }), (sent, at, change) => {
        const bytes = encode(sent);
        bytes[at % bytes.length] = (bytes[at % bytes.length] ?? 0) ^ change;
        try {
          decode(bytes);
        } catch (error) {
          assert.ok(error instanceof ProtocolError, String(error));
        }
      }),
      { numRuns: 1000 },
    );
  });
});

suite("what is sent", () => {
  test("undefined is nil, also as a property, an item and a hole", () => {
    // eslint-disable-next-line no-sparse-arrays -- the hole is what is tested
    assert.deepEqual(roundTrip([undefined, , { a: undefined }]), [null, null, { a: null }]);
  });

  test("a bigint is an int of the shortest form whatever its size", () => {
    assert.equal(hex(encode([1n, -1n, 0x1_0000_0000n, -0x8000_0001n])), "9401ffcf0000000100000000d3ffffffff7fffffff");
  });

  test("a Buffer arrives as a Uint8Array", () => {
    const arrived = roundTrip(Buffer.from("abc"));
    assert.equal(Object.getPrototypeOf(arrived), Uint8Array.prototype);
    assert.deepEqual(arrived, new Uint8Array([97, 98, 99]));
  });

  test("a Map with only string keys arrives as a plain object", () => {
    assert.deepEqual(roundTrip(new Map([["a", 1]])), { a: 1 });
  });

  test("objects without a prototype and from other realms are plain objects", () => {
    assert.deepEqual(roundTrip(Object.assign(Object.create(null), { a: 1 })), { a: 1 });
    assert.deepEqual(roundTrip(vm.runInNewContext("({ a: [1], b: { c: null } })")), { a: [1], b: { c: null } });
  });

  test("values of other realms are recognised", () => {
    assert.deepEqual(roundTrip(vm.runInNewContext("new Uint8Array([1, 2])")), new Uint8Array([1, 2]));
    assert.deepEqual(roundTrip(vm.runInNewContext("new Float32Array([1.5])")), new Float32Array([1.5]));
    assert.deepEqual(roundTrip(vm.runInNewContext("new Map([[1, 2]])")), new Map([[1, 2]]));
    assert.deepEqual(roundTrip(vm.runInNewContext("new Date(5)")), new Date(5));
  });

  test("a part of a typed array is sent, not all of its buffer", () => {
    const all = Float64Array.from([1, 2, 3, 4]);
    assert.deepEqual(roundTrip(all.subarray(1, 3)), Float64Array.from([2, 3]));
  });

  test("an array of several dimensions keeps its shape", () => {
    const sent = new NdArray(Int32Array.from([1, 2, 3, 4, 5, 6]), [2, 3]);
    assert.deepEqual(roundTrip(sent), sent);
  });

  test("what arrives owns its memory", () => {
    const wire = encode([new Uint8Array(100).fill(7), Float64Array.from([1, 2]), "text"]);
    const decoder = new Decoder();
    const buffer = Buffer.alloc(wire.length);
    wire.copy(buffer);
    decoder.begin(buffer, 0, buffer.length);
    const arrived = decoder.value();
    buffer.fill(0xff);
    assert.deepEqual(arrived, [new Uint8Array(100).fill(7), Float64Array.from([1, 2]), "text"]);
  });

  test("a buffer that is given away is not copied for what is most of it", () => {
    const wire = encode(new Uint8Array(10_000).fill(7));
    const buffer = Buffer.alloc(wire.length);
    wire.copy(buffer);
    const decoder = new Decoder();
    decoder.begin(buffer, 0, buffer.length, true);
    const arrived = decoder.value() as Uint8Array;
    assert.equal(arrived.buffer, buffer.buffer);
    assert.deepEqual(arrived, new Uint8Array(10_000).fill(7));
  });

  test("the decoder reads nothing outside of its part of the buffer", () => {
    const buffer = Buffer.from([0x01, 0xa2, 0x61, 0x62, 0x63]);
    const decoder = new Decoder();
    decoder.begin(buffer, 1, 4);
    assert.equal(decoder.value(), "ab");
    decoder.finish();
    decoder.begin(buffer, 1, 3);
    assert.throws(() => decoder.value(), ProtocolError);
  });

  test("__proto__ in a message does not change a prototype", () => {
    const arrived = decode(encode(JSON.parse('{"__proto__": {"polluted": 1}, "a": 2}'))) as Record<string, unknown>;
    assert.equal(Object.getPrototypeOf(arrived), Object.prototype);
    assert.equal(arrived["polluted"], undefined);
    assert.deepEqual(Object.keys(arrived), ["__proto__", "a"]);
  });

  test("two keys of the same bytes are one key of the message", () => {
    const arrived = decode(Buffer.from("82c4016101c4016102", "hex")) as Map<unknown, unknown>;
    assert.deepEqual([...arrived.values()], [2]);
  });

  test("a hostile map of mixed keys in mixed keys is decoded once, not exponentially often", () => {
    // Each level: {"a": <next level>, 1: nil}.
    const levels = 400;
    const wire = "82a161".repeat(levels) + "c0" + "01c0".repeat(levels);
    assert.ok(decode(Buffer.from(wire, "hex")) instanceof Map);
  });
});

suite("what cannot be sent", () => {
  class Point {
    x = 1;
  }
  const cases: [string, unknown, string][] = [
    ["a function", { items: [1, 2, 3, (): void => undefined] }, "value.items[3]: a function cannot be encoded"],
    ["a symbol", [Symbol("x")], "value[0]: a symbol cannot be encoded"],
    ["an instance of a class", { p: new Point() }, "value.p: an object of class Point cannot be encoded"],
    ["a Set", [new Set()], "value[0]: an object of class Set cannot be encoded"],
    ["a Promise", Promise.resolve(), "value: an object of class Promise cannot be encoded"],
    ["an ArrayBuffer", new ArrayBuffer(1), "value: an object of class ArrayBuffer cannot be encoded"],
    ["a DataView", new DataView(new ArrayBuffer(1)), "value: a DataView cannot be encoded"],
    ["an invalid Date", { d: new Date(NaN) }, "value.d: an invalid Date cannot be encoded"],
    ["a Date of year 10000", new Date(253402300800000), "value: a Date outside of the years 1 to 9999 cannot be encoded"],
    ["a bigint of 65 bits", [2n ** 64n], "value[0]: a bigint of more than 64 bits cannot be encoded"],
    ["a negative bigint of 65 bits", -(2n ** 63n) - 1n, "value: a bigint of more than 64 bits cannot be encoded"],
    ["a lone surrogate", { a: { "b-c": ["\ud800"] } }, 'value.a["b-c"][0]: a string with a lone surrogate cannot be encoded'],
    ["a lone surrogate in a long string", "x".repeat(1000) + "\udc00", "value: a string with a lone surrogate cannot be encoded"],
    ["a Map with an object as a key", new Map([[{}, 1]]), "value: a Map with a key that is an object of class Object cannot be encoded"],
    ["something bad in a Map", new Map([[1, { f: Math.max }]]), "value[1].f: a function cannot be encoded"],
  ];
  for (const [name, value, message] of cases) {
    test(`${name} is an EncodeError that says where it is`, () => {
      assert.throws(() => encode(value), (error) => error instanceof EncodeError && error.message === message);
    });
  }

  test("nesting of 501 is an EncodeError", () => {
    assert.doesNotThrow(() => encode(nested(500)));
    assert.throws(() => encode(nested(501)), /^EncodeError: value(\[0\])+\[?0?….*nested more than 500 deep/);
  });

  test("a value that contains itself is an EncodeError", () => {
    const value: { self?: unknown } = {};
    value.self = value;
    assert.throws(() => encode(value), EncodeError);
  });

  test("a value shared by several others is no error", () => {
    const shared = [1];
    assert.deepEqual(roundTrip([shared, shared]), [[1], [1]]);
  });

  test("more than the limit is a MessageTooLarge, however it comes about", () => {
    assert.throws(() => encode(new Uint8Array(2000), 1000), MessageTooLarge);
    assert.throws(() => encode("x".repeat(1000), 1000), MessageTooLarge);
    assert.throws(() => encode(new Array(2000).fill(0), 1000), MessageTooLarge);
    assert.equal(encode("x".repeat(997), 1000).length, 1000);
  });

  test("a limit far above the buffer does not matter to what fits", () => {
    const text = "x".repeat(10_000_000);
    assert.equal(roundTrip(text), text);
  });
});

suite("the shared encoder", () => {
  test("a getter that encodes something itself disturbs nothing", () => {
    let inner: unknown;
    const value = {
      get a(): number {
        inner = roundTrip(["inner"]);
        return 1;
      },
      b: 2,
    };
    assert.deepEqual(roundTrip(value), { a: 1, b: 2 });
    assert.deepEqual(inner, ["inner"]);
  });

  test("it is there again after a failure", () => {
    assert.throws(() => encode(Symbol("x")));
    const encoder = acquireEncoder();
    releaseEncoder(encoder);
    assert.deepEqual(roundTrip(1), 1);
    assert.equal(acquireEncoder(), encoder);
    releaseEncoder(encoder);
  });

  test("a large message does not make it keep its size", () => {
    const encoder = new Encoder();
    encoder.begin(100_000_000);
    encoder.value(new Uint8Array(20_000_000));
    encoder.shrink();
    assert.ok(encoder.buffer.length < 1_000_000);
  });
});

suite("NdArray", () => {
  test("what is no typed array of numbers, or no shape, is a TypeError that says so", () => {
    const make = (data: unknown, shape: unknown): NdArray => new NdArray(data as Float64Array, shape as number[]);
    for (const data of [null, undefined, 5, "text", [1], {}, new Uint8Array(1), new DataView(new ArrayBuffer(8)), Symbol("data")]) {
      assert.throws(() => make(data, [1]), /TypeError: data: must be a typed array of numbers/);
    }
    for (const shape of [null, undefined, 1, "1", {}, () => 1]) {
      assert.throws(() => make(new Float64Array(1), shape), /TypeError: shape: must be an array of sizes/);
    }
    for (const size of [Symbol("size"), Object.create(null), "1", null]) assert.throws(() => make(new Float64Array(1), [size]), RangeError);
  });

  test("a shape that does not fit its data is a RangeError", () => {
    assert.throws(() => new NdArray(Int8Array.from([1, 2, 3]), [2, 2]), /RangeError: shape \[2, 2\] has 4 elements, data has 3/);
    assert.throws(() => new NdArray(Int8Array.from([]), [-1]), RangeError);
    assert.throws(() => new NdArray(Int8Array.from([1]), new Array<number>(9).fill(1)), RangeError);
    assert.doesNotThrow(() => new NdArray(Int8Array.from([]), [2 ** 31, 2 ** 31, 0]));
    assert.throws(() => new NdArray(Int16Array.from([]), [2 ** 31, 2 ** 31, 0]), /RangeError: shape .* more than 2\^63 - 1 bytes/);
  });
});
