/** What the peers whose host is Node have in common: their calls from Python to TypeScript are timed in Python. */

import path from "node:path";
import { setImmediate as nextTurn, setTimeout as sleep } from "node:timers/promises";

import type { Case } from "../cases";
import { MOST_ERRORS } from "../driver";
import { functionNamed } from "../workload";
import type { Caller, Measured, MeasuringCaller } from "./interface";

export const ROOT = path.join(__dirname, "..", "..");

const NS_PER_S = 1e9;
const MS_PER_S = 1e3;

/**
 * Longest stay in Python, in seconds, but for one call. What a call makes in TypeScript's heap is not freed while
 * Python runs: some thousand long texts would fill it.
 */
const STAY_S = 0.01;

/** What in_node.py's `measure` gives. */
export type Stay = [times: ArrayBuffer | Uint8Array, elapsed_ns: number, errors: number, first_error: string];

/** The Python half, in_node.py, by the means of one engine. */
export interface Half {
  /** in_node.py's `measure`. */
  measure: (function_: (argument: unknown) => unknown, case_: string, calls: number, seconds: number) => Stay;
  clockUs: () => number;
}

async function measure(half: Half, case_: Case, calls: number, seconds: number): Promise<Measured> {
  const function_ = functionNamed(case_.function);
  // Node sleeps; some of the engines would spin.
  const pauses = case_.pause_s > 0;
  const withoutPause = JSON.stringify({ ...case_, pause_s: 0 });
  const result = { times_ns: [] as number[], elapsed_ns: 0, errors: 0, first_error: "" };
  while (result.times_ns.length < calls && result.elapsed_ns < seconds * NS_PER_S && result.errors < MOST_ERRORS) {
    if (pauses) await sleep(case_.pause_s * MS_PER_S);
    else await nextTurn();
    const most = pauses ? 1 : calls - result.times_ns.length;
    const stay_s = Math.min(STAY_S, seconds - result.elapsed_ns / NS_PER_S);
    const [times, elapsed_ns, errors, first_error] = half.measure(function_, withoutPause, most, stay_s);
    // Copied, for doubles must be aligned.
    for (const time_ns of new Float64Array(new Uint8Array(times).slice().buffer)) result.times_ns.push(time_ns);
    result.elapsed_ns += elapsed_ns + (pauses ? case_.pause_s * NS_PER_S : 0);
    result.errors += errors;
    result.first_error ||= first_error;
  }
  return result;
}

/** The caller of the direction that the bench asks for: `caller` itself, or one that times Python's calls. */
export function inDirection(caller: Caller, half: Half): Caller | MeasuringCaller {
  if (process.env["BENCH_DIRECTION"] !== "py->ts") return caller;
  return {
    ...caller,
    measure: (case_, calls, seconds) => measure(half, case_, calls, seconds),
    clockUs: half.clockUs,
  };
}
