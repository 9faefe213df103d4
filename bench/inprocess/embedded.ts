/**
 * What Flask calls in the JavaScript engine inside its own process: node_side/typescript_utils.ts, as Node has it.
 * An error comes back as a value, since each engine makes another Python exception of one that is thrown.
 */

import * as typescript_utils from "../../node_side/typescript_utils";

type Outcome = { value: unknown } | { error: string; message: string };

const FUNCTIONS = new Map<string, (...args: never[]) => unknown>(Object.entries(typescript_utils));

/** Calls the function of that name. */
export function call(name: string, args: Iterable<never>): Outcome {
  const found = FUNCTIONS.get(name);
  if (found === undefined) return { error: "ReferenceError", message: `there is no typescript_utils.${name}` };
  try {
    return { value: found(...args) };
  } catch (error) {
    return error instanceof Error
      ? { error: error.name, message: error.message }
      : { error: "Error", message: String(error) };
  }
}
