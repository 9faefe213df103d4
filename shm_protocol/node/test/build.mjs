// Compiles the addon that the tests dial with.

import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

import { compile } from "../build.mjs";

const here = dirname(fileURLToPath(import.meta.url));
process.exitCode = compile(join(here, "dialer_binding.c"), join(here, "..", "build", "dialer.node"));
