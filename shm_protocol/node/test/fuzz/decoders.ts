/**
 * What must hold of TypeScript's decoders, whatever bytes they are given.
 *
 * Each check says what became of the bytes: taken, or refused with the error that the protocol has for it. Whatever else
 * is thrown is a finding. `fuzz/decoders.py` checks the same of Python's.
 */

import { createHash } from "node:crypto";
import { isDeepStrictEqual } from "node:util";

import { ProtocolError } from "../../src/errors";
import { type FrameSink, readFrame } from "../../src/frames";
import { decodeAnswer, decodeHello } from "../../src/handshake";
import { decode, Decoder } from "../../src/values";
import { describe } from "./canonical";

export type Outcome = "taken" | "refused";

/** A message stands in a buffer between others, which must make no difference. */
const MARGIN_BYTES = 32;

/** What `read` makes of the bytes in a buffer whose other bytes are all `filling`; undefined where it refuses them. */
function amid(data: Uint8Array, filling: number, owned: boolean, read: (decoder: Decoder) => unknown): unknown {
  const buffer = Buffer.alloc(data.length + 2 * MARGIN_BYTES, filling);
  buffer.set(data, MARGIN_BYTES);
  const decoder = new Decoder();
  decoder.begin(buffer, MARGIN_BYTES, MARGIN_BYTES + data.length, owned);
  try {
    return read(decoder);
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error;
    return undefined;
  }
}

/** The same whoever else's bytes are around them, and whether values may be views of the buffer or not. */
function anywhere(data: Uint8Array, read: (decoder: Decoder) => unknown): Outcome {
  const one = amid(data, 0x00, false, read);
  const other = amid(data, 0xff, true, read);
  if (!isDeepStrictEqual(one, other)) throw new Error("what is read depends on what is around the message");
  return one === undefined ? "refused" : "taken";
}

/** A value or a ProtocolError. */
export function value(data: Uint8Array): Outcome {
  return anywhere(data, (decoder) => {
    const read = decoder.value();
    decoder.finish();
    return [read];
  });
}

/** A frame whose fields are what they must be, or a ProtocolError. */
export function frame(data: Uint8Array): Outcome {
  return anywhere(data, (decoder) => {
    let read: unknown[] | undefined;
    const sink: FrameSink = {
      onRequest: (...fields) => { read = ["request", ...fields]; },
      onResponse: (...fields) => { read = ["response", ...fields]; },
      onErrorResponse: (...fields) => { read = ["error", ...fields]; },
      onNotification: (...fields) => { read = ["notification", ...fields]; },
      onCancel: (...fields) => { read = ["cancel", ...fields]; },
      onItem: (...fields) => { read = ["item", ...fields]; },
      onCredit: (...fields) => { read = ["credit", ...fields]; },
      onLeave: () => { read = ["leave"]; },
      onExpose: (...fields) => { read = ["expose", ...fields]; },
      onRelease: (...fields) => { read = ["release", ...fields]; },
      onHold: (...fields) => { read = ["hold", ...fields]; },
      onReturned: (...fields) => { read = ["returned", ...fields]; },
      onWithdrawn: (...fields) => { read = ["withdrawn", ...fields]; },
    };
    readFrame(decoder, sink);
    if (read === undefined) throw new Error("a frame that is neither handed on nor refused");
    return read;
  });
}

/** A hello that has come whole, or a ProtocolError. */
export function hello(data: Uint8Array): Outcome {
  return handshake(data, decodeHello);
}

/** A welcome or refusal that has come whole, or a ProtocolError. */
export function answer(data: Uint8Array): Outcome {
  return handshake(data, decodeAnswer);
}

/** What has not all come is refused. */
function handshake(data: Uint8Array, decode: (bytes: Buffer) => { bytes: number } | undefined): Outcome {
  let decoded: { bytes: number } | undefined;
  try {
    decoded = decode(Buffer.from(data));
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error;
  }
  if (decoded === undefined) return "refused";
  if (decoded.bytes > data.length) throw new Error(`${decoded.bytes} bytes were taken of ${data.length}`);
  return "taken";
}

export const checks = { value, frame, hello, answer };

/** What a corpus says of an input: refused; or taken, and of a value what it is, shortened. */
export function recorded(name: keyof typeof checks, data: Uint8Array): string {
  const outcome = checks[name](data);
  if (name !== "value" || outcome === "refused") return outcome;
  return `${outcome}:${createHash("sha256").update(describe(decode(data))).digest("hex").slice(0, 8)}`;
}
