/**
 * The TypeScript compiler that a project has. It is no dependency of this package: a project in TypeScript has one, and
 * a program that only runs needs none.
 */

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";

import type ts from "typescript";

export type Compiler = typeof ts;

/** In the order of preference. TypeScript 7 has no API of this kind; these are what it is installed beside. */
const PACKAGES = ["typescript", "typescript-5", "typescript-6", "@typescript/typescript6"];

export const INSTALL = "npm install --save-dev typescript@5.9, or, beside TypeScript 7, typescript-5@npm:typescript@5.9";

/** There is no compiler that can be asked. */
export class NoCompiler extends Error {
  override name = "NoCompiler";
}

export interface FoundCompiler {
  api: Compiler;
  /** Its package.json. */
  manifest: string;
}

/** The compiler nearest to `file`, from its folder upward, else this package's neighbour. @throws NoCompiler */
export function findCompiler(file: string): FoundCompiler {
  const unfit: string[] = [];
  for (const start of [file, __filename]) {
    const require = createRequire(start);
    for (const name of PACKAGES) {
      let manifest: string;
      try {
        manifest = require.resolve(`${name}/package.json`);
      } catch {
        continue;
      }
      const { version } = JSON.parse(readFileSync(manifest, "utf8")) as { version: string };
      if (/^[56]\./.test(version)) return { api: require(dirname(manifest)) as Compiler, manifest };
      const told = `${name} ${version} in ${join(dirname(manifest), "..")}`;
      if (!unfit.includes(told)) unfit.push(told);
    }
  }
  const found = unfit.length > 0 ? `TypeScript 5 or 6 is needed, and there is only ${unfit.join(", ")}` : "there is no TypeScript";
  throw new NoCompiler(`the types of ${file} cannot be told: ${found}: ${INSTALL}`);
}
