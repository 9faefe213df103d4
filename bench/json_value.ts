/** Values for the peers that send JSON, which has no bytes: these go as base64 in an object of their own. */

import { plain } from "./peers/bytes";

/** What JSON.stringify takes. */
export function wrap(value: unknown): unknown {
  return value instanceof Uint8Array
    ? { base64: Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString("base64") }
    : value;
}

/** What `wrap` was given, of what JSON.parse gave. */
export function unwrap(value: unknown): unknown {
  return typeof value === "object" && value !== null && "base64" in value
    ? plain(Buffer.from(String(value.base64), "base64"))
    : value;
}
