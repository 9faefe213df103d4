/** The child of spawn.py: one call from its standard input, its answer on its output. */

import fs from "node:fs";

import { functionNamed } from "../workload";
import { unwrap, wrap } from "../json_value";

// Synchronously: the streams of process.stdin and process.stdout would first have to be loaded.
const [function_, argument] = JSON.parse(fs.readFileSync(0, "utf8")) as [string, unknown];
fs.writeFileSync(1, JSON.stringify(wrap(functionNamed(function_)(unwrap(argument)))));
