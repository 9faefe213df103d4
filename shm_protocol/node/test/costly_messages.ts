/**
 * How long the costliest messages within the limits hold the loop: `after `make test-node`, `node
 * shm_protocol/node/build/test/test/costly_messages.js`. Prints, for each shape, its size, the processor time that decoding took
 * in three runs, and the most memory that the process has had so far.
 */

import { readFileSync } from "node:fs";

import { decode, MAX_VALUES } from "../src/values";

const MAX_BYTES = 64 * 1024 * 1024;

/** The processor time of this thread: of the decoder and its share of collecting garbage, whatever else the machine does. */
const cpuMs = (): number => Number(readFileSync(`/proc/self/task/${process.pid}/schedstat`, "utf8").split(" ")[0]) / 1e6;

const u32 = (value: number): Buffer => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
};

/** An array of the same unit as often as the limits allow. */
function repeated(unit: Buffer, values: number): Buffer {
  const count = Math.floor(Math.min((MAX_VALUES - 1) / values, (MAX_BYTES - 5) / unit.length));
  return Buffer.concat([Buffer.from([0xdd]), u32(count), Buffer.alloc(count * unit.length, unit)]);
}

/** A map, or with `each` an array of maps of one entry, with as many different keys. */
function keyed(key: (index: number) => Buffer, each = false): Buffer {
  const count = Math.floor((MAX_VALUES - 1) / (each ? 3 : 2));
  const entry = (index: number): Buffer => Buffer.concat([each ? Buffer.from([0x81]) : Buffer.alloc(0), key(index), Buffer.from([0xc0])]);
  return Buffer.concat([Buffer.from([each ? 0xdd : 0xdf]), u32(count), ...Array.from({ length: count }, (_, index) => entry(index))]);
}

const text = (value: string): Buffer => Buffer.concat([Buffer.from([0xd9, value.length]), Buffer.from(value)]);
const hex = (digits: string): Buffer => Buffer.from(digits, "hex");
const zeros = (header: string, count: number): Buffer => Buffer.concat([hex(header), Buffer.alloc(count)]);
/** An int8 array of eight dimensions; the last size is 0. */
const eightDimensions = Buffer.concat([hex("c72801010800000000".slice(0, 14)), ...new Array<Buffer>(7).fill(hex("02000000")), Buffer.alloc(8)]);

const shapes: Record<string, () => Buffer> = {
  nil: () => repeated(hex("c0"), 1),
  "float 64": () => repeated(hex("cb3ff8000000000000"), 1),
  "uint 64": () => repeated(hex("cfffffffffffffffff"), 1),
  "empty maps": () => repeated(hex("80"), 1),
  "empty arrays": () => repeated(hex("90"), 1),
  "arrays, 500 deep": () => repeated(Buffer.concat([Buffer.alloc(500, 0x91), hex("c0")]), 501),
  "maps of {1: nil}": () => repeated(hex("8101c0"), 3),
  "maps of {1: nil}, 500 deep": () => repeated(Buffer.concat([Buffer.alloc(1000, hex("8101")), hex("c0")]), 1001),
  'maps of {"999": nil}': () => repeated(hex("81a3393939c0"), 3),
  "maps of a key each": () => keyed((index) => text(`k${index}`), true),
  "maps of a number as key each": () => keyed((index) => text(String(4e9 - 7 * index)), true),
  "maps of bytes as key": () => repeated(hex("81c40141c0"), 3),
  "a map of many keys": () => keyed((index) => text(`k${index}`)),
  "a map of many long keys": () => keyed((index) => text(`k${index}`.padEnd(110, "x"))),
  "a map of many numbers as keys": () => keyed((index) => text(String(4e9 - 7 * index))),
  "a map of many bytes as keys": () => keyed((index) => Buffer.concat([hex("c404"), u32(index)])),
  "a map of many long bytes as keys": () => keyed((index) => Buffer.concat([hex("c464"), u32(index), Buffer.alloc(96)])),
  "a map of many floats as keys": () => keyed((index) => Buffer.concat([hex("cb40"), u32(index), Buffer.alloc(3, 1)])),
  "empty bytes": () => repeated(hex("c400"), 1),
  "62 bytes": () => repeated(zeros("c43e", 62), 1),
  "70 bytes": () => repeated(zeros("c446", 70), 1),
  "empty strings": () => repeated(hex("a0"), 1),
  "strings of one letter": () => repeated(hex("a141"), 1),
  "strings of U+FFFD": () => repeated(hex("a3efbfbd"), 1),
  "strings of 27 é": () => repeated(text("é".repeat(27)).fill(54, 1, 2), 1),
  "timestamps": () => repeated(hex("d6ff00000001"), 1),
  "empty arrays of int8": () => repeated(hex("c70801010100000000000000").subarray(0, 11), 1),
  "arrays of one float64": () => repeated(hex("d80108010000010000000000000000000000"), 1),
  "arrays of nine float64": () => repeated(zeros("c75001080100000900000000".slice(0, 22), 72), 1),
  "int8 without dimensions": () => repeated(hex("c70901010000000000000005").subarray(0, 12), 1),
  "empty arrays of eight dimensions": () => repeated(eightDimensions, 1),
};

for (const [name, make] of Object.entries(shapes)) {
  const message = make();
  const took: string[] = [];
  for (let run = 0; run < 3; run++) {
    const began = cpuMs();
    decode(message);
    took.push((cpuMs() - began).toFixed(0));
  }
  const peak = process.resourceUsage().maxRSS / 1024;
  console.log(`${name.padEnd(34)} ${(message.length / 2 ** 20).toFixed(1).padStart(5)} MiB  ${took.join(", ")} ms, peak ${peak.toFixed(0)} MiB`);
}
