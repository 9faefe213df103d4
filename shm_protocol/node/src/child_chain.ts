/** Which children stand between the program and this process: one of it, one of that, and so on. */

import { basename } from "node:path";

import { PeerUnavailable } from "./errors";

/** The files that they were started for, each on a line. The library's own, for its children. */
export const CHAIN = "SHM_POLYGLOT_CHILD_CHAIN";

const MAX_CHILDREN = 8;

/** What a child that is started for this file has in CHAIN. @throws PeerUnavailable where there are too many. */
export function chainFor(file: string): string {
  const chain = (process.env[CHAIN] ?? "").split("\n").filter((one) => one !== "");
  if (chain.length >= MAX_CHILDREN) {
    const names = [...chain, file].map((one) => basename(one)).join(" -> ");
    throw new PeerUnavailable(
      `${file}: ${MAX_CHILDREN} children have started each other already (${names}). Files that import each other across ` +
        "the languages start one at each turn: have a program that listens, or a worker, expose one of them",
    );
  }
  return [...chain, file].join("\n");
}
