/** Bytes as the caller of a function expects them. */

/** The value; where it is a Buffer, which is Node's own kind of Uint8Array, as a plain one. Nothing is copied. */
export function plain(value: unknown): unknown {
  return Buffer.isBuffer(value) ? new Uint8Array(value.buffer, value.byteOffset, value.length) : value;
}
