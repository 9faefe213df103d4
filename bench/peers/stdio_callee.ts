/** The child of stdio.py: answers each line of its standard input with one. It says `ready`, and ends with its input. */

import { functionNamed } from "../workload";
import { unwrap, wrap } from "../json_value";
import { receiveLines } from "./lines";

receiveLines(process.stdin, (line) => {
  const [function_, argument] = JSON.parse(line) as [string, unknown];
  process.stdout.write(`${JSON.stringify(wrap(functionNamed(function_)(unwrap(argument))))}\n`);
});
process.stdout.write('"ready"\n');
