/** What a call of a case has as its argument, and what it has to answer (cases.py and workload.py say the same). */

import fs from "node:fs";
import path from "node:path";

import type { FunctionName } from "./workload";

/** A case, as cases.py writes it. */
export interface Case {
  workload: string;
  function: FunctionName;
  payload_bytes: number;
  outstanding: number;
  pause_s: number;
}

interface Fixed {
  argument: unknown;
  answer: unknown;
}

const FIXED = JSON.parse(fs.readFileSync(path.join(__dirname, "expected.json"), "utf8")) as Record<string, Fixed>;
const PATTERN = "0123456789abcdef";

function fixed(function_: string): Fixed {
  const found = FIXED[function_];
  if (found === undefined) throw new Error(`expected.json has nothing for ${function_}`);
  return found;
}

export function argumentOf(case_: Case): unknown {
  if (case_.function !== "echo") return fixed(case_.function).argument;
  const text = PATTERN.repeat(Math.ceil(case_.payload_bytes / PATTERN.length)).slice(0, case_.payload_bytes);
  if (case_.workload === "array") return Float64Array.from({ length: case_.payload_bytes / Float64Array.BYTES_PER_ELEMENT }, (_, index) => index / 3);
  if (case_.workload === "bytes") return new TextEncoder().encode(text);
  return case_.payload_bytes > 0 ? text : null;
}

export function answerTo(case_: Case): unknown {
  return case_.function === "echo" ? argumentOf(case_) : fixed(case_.function).answer;
}
