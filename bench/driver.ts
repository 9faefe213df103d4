/** How a caller written in TypeScript makes the calls of a case and times them (driver.py does the same in Python). */

import { setTimeout as sleep } from "node:timers/promises";
import { inspect, isDeepStrictEqual } from "node:util";

import { answerTo, argumentOf, type Case } from "./cases";
import type { Caller, Measured } from "./peers/interface";

const NS_PER_MS = 1e6;
const MS_PER_S = 1e3;
export const MOST_ERRORS = 100;
const CLOCK_READINGS = 10_001;
const LARGE_ANSWER_BYTES = 64 * 1024;
const NS_PER_US = 1e3;

/** What two readings of the clock, one right after the other, give: microseconds, median. */
export function clockUs(): number {
  const differences = new Float64Array(CLOCK_READINGS);
  for (let number = 0; number < CLOCK_READINGS; number++) {
    const began = performance.now();
    differences[number] = performance.now() - began;
  }
  differences.sort();
  return (differences[CLOCK_READINGS >> 1] ?? 0) * MS_PER_S;
}

function processorNs({ user, system }: NodeJS.CpuUsage): number {
  return (user + system) * NS_PER_US;
}

function show(value: unknown): string {
  return inspect(value, { breakLength: Infinity }).slice(0, 200);
}

/**
 * At most `calls` calls, begun within `seconds`, `case_.outstanding` of them at once. Every answer is checked, untimed.
 */
export async function measure(caller: Caller, case_: Case, calls: number, seconds: number): Promise<Measured> {
  const argument = argumentOf(case_);
  const answer = answerTo(case_);
  const times = new Float64Array(calls);
  let begun = 0;
  let ended = 0;
  let checking_ns = 0;
  let checking_cpu_ns = 0;
  // Of a small answer a look takes no longer than to read the processor's clock.
  const isLarge = case_.payload_bytes >= LARGE_ANSWER_BYTES;
  let errors = 0;
  let firstError = "";
  const start = performance.now();
  const end = start + seconds * MS_PER_S;

  function failed(message: string): void {
    errors++;
    firstError ||= message;
  }

  async function oneAfterTheOther(): Promise<void> {
    while (begun < calls && errors < MOST_ERRORS) {
      if (case_.pause_s > 0) await sleep(case_.pause_s * MS_PER_S);
      const began = performance.now();
      if (began >= end) return;
      const number = begun++;
      try {
        let got = caller.call(case_.function, argument);
        if (got instanceof Promise) got = await got;
        const answered = performance.now();
        const looked = isLarge ? process.cpuUsage() : undefined;
        times[ended++] = (answered - began) * NS_PER_MS;
        if (got !== answer && !isDeepStrictEqual(got, answer))
          failed(`call ${number} answered ${show(got)}, not ${show(answer)}`);
        const checking = (performance.now() - answered) * NS_PER_MS;
        checking_ns += checking;
        checking_cpu_ns += looked === undefined ? checking : processorNs(process.cpuUsage(looked));
      } catch (error) {
        times[ended++] = (performance.now() - began) * NS_PER_MS;
        failed(`call ${number} raised ${String(error)}`);
      }
    }
  }

  await Promise.all(Array.from({ length: case_.outstanding }, oneAfterTheOther));
  const elapsed_ns = (performance.now() - start) * NS_PER_MS;
  return { times_ns: times.subarray(0, ended), elapsed_ns, checking_ns, checking_cpu_ns, errors, first_error: firstError };
}
