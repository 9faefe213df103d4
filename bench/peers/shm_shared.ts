/** This bridge, handed an array that is in shared memory already. */

import { sharedArray } from "@shm-polyglot/protocol";

import type { Caller } from "./interface";
import * as shm from "./shm";

export const serve = shm.serve;

export async function start(address: string): Promise<Caller> {
  const caller = await shm.start(address);
  let given: unknown;
  let shared: Float64Array | undefined;
  return {
    ...caller,
    // The first call with an argument copies it there.
    call: (function_, argument) => {
      if (given !== argument) {
        const array = argument as Float64Array;
        shared = sharedArray(Float64Array, array.length);
        shared.set(array);
        given = argument;
      }
      return caller.call(function_, shared);
    },
  };
}
