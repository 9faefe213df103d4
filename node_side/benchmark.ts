import { setImmediate as nextTurn } from "node:timers/promises";

import { time_typescript_calls } from "../python_side/benchmark.py";
import { predict } from "../python_side/ml_service.py";
import { Durations, type Percentiles } from "./metrics";
import type { PythonWorkers } from "./python_workers";
import { slugify } from "./typescript_utils";

/** Calls between two turns of the event loop, for what does not wait by itself; some 100 µs. */
const CALLS_PER_TURN = 50;
/** Calls that Python makes in one go; its worker does nothing else meanwhile. */
const CALLS_PER_RUN = 200;
const TARGET_OVERHEAD_MS = 1;
const NANOSECONDS_PER_MS = 1e6;
const NANOSECONDS_PER_US = 1e3;

export interface BenchmarkResult {
  iterations: number;
  typescript_only_ms: number;
  typescript_per_call_ms: number;
  polyglot_total_ms: number;
  polyglot_per_call_ms: number;
  overhead_ms: number;
  target_overhead_ms: number;
  note: string;
  typescript_to_python: PercentilesUs;
  python_to_typescript: PercentilesUs;
}

interface PercentilesUs {
  p50_us: number;
  p95_us: number;
  p99_us: number;
}

/** Times `iterations` calls of each kind, one after the other. Rejects with BridgeError when a call fails. */
export async function runBenchmark(python: PythonWorkers, iterations: number): Promise<BenchmarkResult> {
  const typescriptOnlyMs = await timeTypeScript(iterations);
  // All calls go to one worker: taking turns would keep several of them polling for the same work.
  const options = python.toOneWorker();
  const [polyglotMs, toPython] = await timeTypeScriptToPython(python.calls(predict, options), iterations);
  const toTypeScript = await timePythonToTypeScript(python.calls(time_typescript_calls, options), iterations);
  return {
    iterations,
    typescript_only_ms: typescriptOnlyMs,
    typescript_per_call_ms: typescriptOnlyMs / iterations,
    polyglot_total_ms: polyglotMs,
    polyglot_per_call_ms: polyglotMs / iterations,
    overhead_ms: (polyglotMs - typescriptOnlyMs) / iterations,
    target_overhead_ms: TARGET_OVERHEAD_MS,
    note:
      "typescript_only: slugify, a function of this process; polyglot and typescript_to_python: Python's " +
      "ml_service.predict, awaited; python_to_typescript: slugify called by Python, timed in Python",
    typescript_to_python: inMicroseconds(toPython),
    python_to_typescript: inMicroseconds(toTypeScript),
  };
}

async function timeTypeScript(iterations: number): Promise<number> {
  let total = 0;
  for (let done = 0; done < iterations; done += CALLS_PER_TURN) {
    const start = performance.now();
    for (let call = done; call < Math.min(done + CALLS_PER_TURN, iterations); call += 1) {
      slugify("Hello, World");
    }
    total += performance.now() - start;
    await nextTurn();
  }
  return total;
}

async function timeTypeScriptToPython(call: typeof predict, iterations: number): Promise<[number, Durations]> {
  const durations = new Durations();
  let total = 0;
  for (let done = 0; done < iterations; done += 1) {
    const start = performance.now();
    await call("I love this great product");
    const duration = performance.now() - start;
    durations.record(duration * NANOSECONDS_PER_MS);
    total += duration;
    if (done % CALLS_PER_TURN === 0) {
      await nextTurn();
    }
  }
  return [total, durations];
}

async function timePythonToTypeScript(time: typeof time_typescript_calls, iterations: number): Promise<Durations> {
  const durations = new Durations();
  for (let left = iterations; left > 0; left -= CALLS_PER_RUN) {
    const calls = Math.min(left, CALLS_PER_RUN);
    for (const nanoseconds of await time(calls)) {
      durations.record(nanoseconds);
    }
  }
  return durations;
}

function inMicroseconds(durations: Durations): PercentilesUs {
  const { p50, p95, p99 }: Percentiles = durations.percentiles(NANOSECONDS_PER_US);
  return { p50_us: p50, p95_us: p95, p99_us: p99 };
}
