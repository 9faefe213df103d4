/** What is called: the same function, on the same argument, in both languages (workload.py mirrors this file). */

export const ARGUMENT = "Hello, World";

/** Give back the argument: the call itself is what is measured. */
export function echo<T>(value: T): T {
  return value;
}
