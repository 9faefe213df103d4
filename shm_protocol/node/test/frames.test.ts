import assert from "node:assert/strict";
import { suite, test } from "node:test";

import { EncodeError, type ErrorMap, MessageTooLarge, ProtocolError } from "../src/errors";
import * as frames from "../src/frames";
import type { Meta } from "../src/meta";
import type { Value } from "../src/value_types";
import { Decoder, Encoder } from "../src/values";
import fc from "./fast_check";
import { type BadVector, type FrameVector, readVectors, untag } from "./tagged";

/** What a frame says, as the vectors write it; a frame without meta and one with empty meta differ. */
function read(bytes: Uint8Array): unknown[] {
  let frame: unknown[] = [];
  const decoder = new Decoder();
  const copy = Buffer.alloc(bytes.length);
  copy.set(bytes);
  decoder.begin(copy, 0, copy.length);
  frames.readFrame(decoder, {
    onRequest: (id, method, args, meta) => { frame = [0, id, method, args, ...metaOf(meta)]; },
    onResponse: (id, result) => { frame = [1, id, null, result]; },
    onErrorResponse: (id, error) => { frame = [1, id, errorOf(error), null]; },
    onNotification: (method, args, meta) => { frame = [2, method, args, ...metaOf(meta)]; },
    onCancel: (id) => { frame = [3, id]; },
    onItem: (id, value) => { frame = [4, id, value]; },
    onCredit: (id, items) => { frame = [5, id, items]; },
    onLeave: () => { frame = [6]; },
    onExpose: (names) => { frame = [7, names]; },
    onRelease: (ids) => { frame = [8, ids]; },
    onHold: (ids) => { frame = [9, ids]; },
    onReturned: (numbers) => { frame = [16, numbers]; },
    onWithdrawn: (numbers) => { frame = [17, numbers]; },
  });
  return frame;
}

function metaOf(meta: Meta | undefined): unknown[] {
  if (meta === undefined) return [];
  const { deadlineMs, ...rest } = meta;
  return [deadlineMs === undefined ? rest : { deadline_ms: deadlineMs, ...rest }];
}

/** Null data and no data are the same. */
function errorOf(error: ErrorMap): unknown {
  const { data, cause, errors, ...rest } = error;
  return {
    ...rest,
    ...(data === null ? {} : { data }),
    ...(cause === undefined ? {} : { cause: errorOf(cause) }),
    ...(errors === undefined ? {} : { errors: errors.map(errorOf) }),
  };
}

function written(write: (encoder: Encoder) => void): Buffer {
  const encoder = new Encoder();
  write(encoder);
  return Buffer.from(encoder.buffer.subarray(0, encoder.position));
}

function write(frame: readonly unknown[]): Buffer {
  const limit = 1_000_000;
  return written((encoder) => {
    switch (frame[0]) {
      case 0:
        frames.encodeRequest(encoder, limit, frame[1] as number, frame[2] as string, frame[3] as Value[], toMeta(frame[4]));
        return;
      case 1:
        if (frame[2] === null) frames.encodeResponse(encoder, limit, frame[1] as number, frame[3]);
        else frames.encodeErrorResponse(encoder, limit, frame[1] as number, frame[2] as ErrorMap);
        return;
      case 2:
        frames.encodeNotification(encoder, limit, frame[1] as string, frame[2] as Value[], toMeta(frame[3]));
        return;
      case 3:
        frames.encodeCancel(encoder, frame[1] as number);
        return;
      case 4:
        frames.encodeItem(encoder, limit, frame[1] as number, frame[2]);
        return;
      case 5:
        frames.encodeCredit(encoder, frame[1] as number, frame[2] as number);
        return;
      case 6:
        frames.encodeLeave(encoder);
        return;
      case 16:
        frames.encodeReturned(encoder, frame[1] as number[]);
        return;
      case 17:
        frames.encodeWithdrawn(encoder, frame[1] as number[]);
        return;
      case 7:
        frames.encodeExpose(encoder, frame[1] as string[]);
        return;
      case 8:
        frames.encodeRelease(encoder, frame[1] as number[]);
        return;
      default:
        frames.encodeHold(encoder, frame[1] as number[]);
    }
  });
}

function toMeta(meta: unknown): Meta | undefined {
  if (meta === undefined) return undefined;
  const { deadline_ms: deadlineMs, ...rest } = meta as { deadline_ms?: number };
  return deadlineMs === undefined ? rest : { deadlineMs, ...rest };
}

suite("the vectors", () => {
  for (const vector of readVectors("frames") as FrameVector[]) {
    const frame = untag(vector.frame) as unknown[];
    test(`reads ${vector.name}`, () => {
      // Unknown keys of meta are ignored.
      const expected = vector.name === "request with unknown meta" ? [...frame.slice(0, 4), {}] : frame;
      assert.deepEqual(read(Buffer.from(vector.wire, "hex")), expected);
    });
    if (vector.name.includes("longer forms") || vector.name.includes("unknown meta")) continue;
    test(`writes ${vector.name}`, () => {
      assert.equal(write(frame).toString("hex"), vector.wire);
    });
  }
  for (const vector of (readVectors("bad") as BadVector[]).filter((bad) => bad.of === "frame")) {
    test(`refuses ${vector.name}`, () => {
      assert.throws(() => read(Buffer.from(vector.wire, "hex")), ProtocolError);
    });
  }
});

suite("frames", () => {
  test("no bytes do anything but read or raise a ProtocolError", () => {
    const starts = fc.constantFrom([0x94, 0x00], [0x95, 0x00], [0x94, 0x01], [0x93, 0x02], [0x92, 0x03], [0x93, 0x04], [0x93, 0x05]);
    fc.assert(
      fc.property(starts, fc.uint8Array({ maxLength: 60 }), (start, rest) => {
        try {
          read(Uint8Array.from([...start, ...rest]));
        } catch (error) {
          assert.ok(error instanceof ProtocolError, String(error));
        }
      }),
      { numRuns: 5000 },
    );
  });

  test("an argument that cannot be encoded is named by its path", () => {
    assert.throws(
      () => write([0, 1, "a.b", [{ items: [1, 2, 3, new Set()] }]]),
      (error) => error instanceof EncodeError && error.message.startsWith("args[0].items[3]: "),
    );
    assert.throws(() => write([2, "a.b", [1, Symbol("x")]]), /args\[1\]: a symbol/);
    assert.throws(() => write([1, 1, null, { a: [new Set()] }]), /result\.a\[0\]: /);
    assert.throws(() => write([1, 1, null, new Set()]), /result: /);
    assert.throws(() => write([4, 1, [new Set()]]), /item\[0\]: /);
  });

  test("a value of 500 levels can be an argument and a result, one of 501 cannot", () => {
    const nested = (depth: number): Value => (depth === 0 ? null : [nested(depth - 1)]);
    assert.deepEqual(read(write([0, 1, "f", [nested(500)]]))[3], [nested(500)]);
    assert.deepEqual(read(write([1, 1, null, nested(500)]))[3], nested(500));
    assert.throws(() => write([0, 1, "f", [nested(501)]]), EncodeError);
    assert.throws(() => write([1, 1, null, nested(501)]), EncodeError);
  });

  test("a method without a name, or with one of 257 bytes, is an EncodeError", () => {
    assert.throws(() => write([0, 1, "", []]), /EncodeError: method: a name of 0 bytes/);
    assert.throws(() => write([0, 1, "é".repeat(128) + "x", []]), /EncodeError: method: a name of 257 bytes/);
    assert.throws(() => write([0, 1, "\ud800", []]), /EncodeError: method: a string with a lone surrogate/);
    assert.doesNotThrow(() => write([0, 1, "é".repeat(128), []]));
  });

  test("a frame past the limit is a MessageTooLarge", () => {
    const encoder = new Encoder();
    assert.throws(() => { frames.encodeRequest(encoder, 1000, 1, "f", ["x".repeat(1000)], undefined); }, MessageTooLarge);
    assert.throws(() => { frames.encodeResponse(encoder, 1000, 1, "x".repeat(1000)); }, MessageTooLarge);
    assert.throws(() => { frames.encodeItem(encoder, 1000, 1, "x".repeat(1000)); }, MessageTooLarge);
  });
});
