/** Floor: the function called directly, TypeScript to TypeScript. No other process, no other language. */

import { FUNCTIONS, functionNamed, type FunctionName } from "../workload";
import type { Caller } from "./interface";

// Looked up once: a direct call does not search.
const FOUND = Object.fromEntries(Object.keys(FUNCTIONS).map((name) => [name, functionNamed(name)])) as Record<
  FunctionName,
  (argument: unknown) => unknown
>;

export function start(): Promise<Caller> {
  return Promise.resolve({
    call: (function_, argument) => FOUND[function_](argument),
    stop: () => undefined,
  });
}
