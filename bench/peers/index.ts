/** The TypeScript halves, by the name of their module. */

import * as http_keepalive from "./http_keepalive";
import type { NodeHalf } from "./interface";
import * as shm from "./shm";
import * as uds_msgpack from "./uds_msgpack";

const HALVES: Readonly<Record<string, NodeHalf>> = { http_keepalive, shm, uds_msgpack };

/** @throws Error for a name that is none of them. */
export function nodeHalf(module: string): NodeHalf {
  const half = HALVES[module];
  if (half === undefined) throw new Error(`no peer ${module}; there are ${Object.keys(HALVES).join(", ")}`);
  return half;
}
