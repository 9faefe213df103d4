/** What jspybridge.py has Node load. */

import { unwrap, wrap } from "../json_value";
import { functionNamed } from "../workload";

export { FUNCTIONS } from "../workload";

// JSPyBridge has a timer that would keep this process for ever when its caller is killed.
process.stdin.on("end", () => process.exit());

/** A call with bytes, which are sent as base64. */
export function callWithBytes(function_: string, argument: unknown): unknown {
  return wrap(functionNamed(function_)(unwrap(argument)));
}
