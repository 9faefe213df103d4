/** What a process or its machine can run out of, in words that say what to do. */

import { constants } from "node:os";

const remedies = new Map<number, string>([
  [constants.errno.EMFILE, "this process has no file descriptors left (EMFILE): raise `ulimit -n`, or lower maxConnections"],
  [constants.errno.ENFILE, "the machine has no file descriptors left (ENFILE): raise the sysctl fs.file-max"],
  [constants.errno.ENOMEM, "this process can have no more memory (ENOMEM): raise its limit, or lower SHM_POLYGLOT_RING_BYTES"],
]);

/** The remedy where that errno, negative or not, is a shortage; else undefined. */
export function remedyFor(errno: number): string | undefined {
  return remedies.get(Math.abs(errno));
}
