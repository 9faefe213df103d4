/**
 * Values and MessagePack: exactly PROTOCOL.md section 8.
 *
 * The codec is our own: the usual packages send integers above 2^32 as floats, replace lone surrogates silently, and
 * cannot say where in a value the bad part is.
 */

import type { Value } from "./value_types";
import { Decoder } from "./values/decoder";
import { withEncoder } from "./values/encoder";
import { explain } from "./values/unencodable";

export { Decoder } from "./values/decoder";
export { acquireEncoder, Encoder, isDisposable, isPlainObject, releaseEncoder } from "./values/encoder";
export { FUNCTION, type Holding, MAX_NAME_BYTES, OBJECT, Reference, type Resolve, RETURNED } from "./values/reference";
export { isTable, TableBytes, tableOfBytes } from "./values/tables";
export { explain, Unencodable } from "./values/unencodable";
export { type Lender, MAX_DEPTH_RECEIVED, MAX_DEPTH_SENT, MAX_VALUES } from "./values/wire";

/** Encode one value alone, for tests and tools. @throws EncodeError with a path that begins with `value`. */
export function encode(value: unknown, limit = Number.MAX_SAFE_INTEGER): Buffer {
  return withEncoder(
    (encoder) => {
      encoder.begin(limit);
      try {
        encoder.value(value);
      } catch (error) {
        throw explain(error, "value");
      }
      encoder.finish();
    },
    (buffer, length) => Buffer.from(buffer.subarray(0, length)),
  );
}

/** Decode bytes that are one value. @throws ProtocolError */
export function decode(bytes: Uint8Array): Value {
  const copy = Buffer.alloc(bytes.length);
  copy.set(bytes);
  const decoder = new Decoder();
  decoder.begin(copy, 0, copy.length);
  const value = decoder.value();
  decoder.finish();
  return value;
}
