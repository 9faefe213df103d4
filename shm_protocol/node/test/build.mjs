// Compiles the addon that the tests dial with, and puts the library's own where the tests' copy of the library looks.

import { mkdirSync, rmSync, symlinkSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

import { compile } from "../build.mjs";

const here = dirname(fileURLToPath(import.meta.url));
process.exitCode = compile(join(here, "dialer_binding.c"), join(here, "..", "build", "dialer.node"));

const build = join(here, "..", "build");
mkdirSync(join(build, "test", "build"), { recursive: true });
rmSync(join(build, "test", "build", "shm_protocol.node"), { force: true });
symlinkSync(join("..", "..", "shm_protocol.node"), join(build, "test", "build", "shm_protocol.node"));
