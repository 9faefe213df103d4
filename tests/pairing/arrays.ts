/** What the Node side of the pairing tests does with arrays: keeps them, looks at them, writes to them, lets go of them. */

import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

import { type Bridge, type BufferStats, dispose, NdArray, type NumberArray, sharedArray } from "@shm-polyglot/protocol";

// Asked for, and not brought about by making garbage: that takes gigabytes each time.
setFlagsFromString("--expose-gc");
const collectGarbage = runInNewContext("gc") as () => void;

type Kept = NumberArray | Uint8Array | NdArray;

export function arraysOf(bridge: () => Bridge): Record<string, (...args: never[]) => unknown> {
  const kept: Kept[] = [];
  const elements = (index: number): NumberArray | Uint8Array => {
    const array = kept[index] as Kept;
    return array instanceof NdArray ? array.data : array;
  };
  return {
    keep: (array: Kept) => kept.push(array) - 1,
    length: (array: NumberArray) => array.length,
    shape: (index: number) => { const array = kept[index] as Kept; return array instanceof NdArray ? array.shape : [array.length]; },
    kind: (index: number) => elements(index).constructor.name,
    read: (index: number, at: number) => elements(index)[at],
    write: (index: number, at: number, value: number) => { elements(index)[at] = value; },
    sum: (index: number) => { let sum = 0; for (const element of elements(index)) sum += Number(element); return sum; },
    give: (index: number) => kept[index],
    *eachKept(index: number) { yield* ["first", kept[index], "last"]; },
    letGo: (index: number) => { dispose(kept[index] as Kept); return elements(index).length; },
    *each(values: Kept[]) { yield* values; },
    forget: () => { kept.length = 0; },
    makeShared: (length: number) => kept.push(sharedArray(Float64Array, length).fill(1)) - 1,
    /** Of the first worker. */
    stats: (name: string): BufferStats | undefined => bridge().connections.find((one) => one.name === name)?.buffers,
    /** Node calls the worker with a kept array. */
    pass: (method: string, index: number) => bridge().call(method, [kept[index]]),
    passMore: (method: string, indices: number[]) => bridge().call(method, indices.map((index) => kept[index])),
    /** What has been let go of is returned, once what V8 does after a collection has been done, too. */
    collect: async () => {
      for (let round = 0; round < 3; round++) {
        collectGarbage();
        await new Promise(setImmediate);
      }
    },
  };
}
