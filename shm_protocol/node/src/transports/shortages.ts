/** What a process or its machine can run out of, in words that say what to do. */

import { constants } from "node:os";

const NO_DESCRIPTORS = "this process has no file descriptors left (EMFILE): close some, or raise `ulimit -n`";
const NONE_IN_THE_MACHINE = "the machine has no file descriptors left (ENFILE): raise the sysctl fs.file-max";

const remedies = new Map<number, string>([
  [constants.errno.EMFILE, "this process has no file descriptors left (EMFILE): raise `ulimit -n`, or lower maxConnections"],
  [constants.errno.ENFILE, NONE_IN_THE_MACHINE],
  [constants.errno.ENOMEM, "this process can have no more memory (ENOMEM): raise its limit, or lower SHM_POLYGLOT_RING_BYTES"],
]);

/** Of memory that is handed over. */
const remediesOfMemory = new Map<number, string>([
  [constants.errno.EFBIG, "files of this process, which memory counts as, may not be so large (EFBIG): raise `ulimit -f`"],
  [constants.errno.EMFILE, NO_DESCRIPTORS],
  [constants.errno.ENFILE, NONE_IN_THE_MACHINE],
  [constants.errno.ENOMEM, "this process can have no more memory (ENOMEM): let go of some, or raise its limit"],
]);

/** Of a process that is started. */
const remediesOfStart = new Map<number, string>([
  [constants.errno.EAGAIN, "this user may have no more processes (EAGAIN): end some, or raise `ulimit -u`"],
  [constants.errno.EMFILE, NO_DESCRIPTORS],
  [constants.errno.ENFILE, NONE_IN_THE_MACHINE],
  [constants.errno.ENOMEM, "the machine has no memory for one more process (ENOMEM)"],
]);

/** Its caller reads them as well. */
const remediesOfReceiver = new Map<number, string>([
  [constants.errno.EMFILE, "the receiving process has no file descriptors left (EMFILE): close some, or raise `ulimit -n`"],
  [constants.errno.ENOMEM, "the receiving process can have no more memory (ENOMEM): let go of some, or raise its limit"],
  [constants.errno.EAGAIN, "the receiving process may lock no more memory (EAGAIN): raise `ulimit -l`"],
  [constants.errno.EACCES, "the receiving process is forbidden to have the descriptor (EACCES)"],
]);

/** What keeps any process from being started, where that error is such a shortage; else undefined. */
export function ofStart(error: unknown): string | undefined {
  return remediesOfStart.get(Math.abs((error as NodeJS.ErrnoException).errno ?? 0));
}

/** Why memory that is to be handed over cannot be had, where that errno, negative or not, is a shortage; else undefined. */
export function ofMemory(errno: number): string | undefined {
  return remediesOfMemory.get(Math.abs(errno));
}

/** Why a buffer that was sent cannot be received now, where that errno, negative or not, is no fault of the sender's; else undefined. */
export function ofReceiver(errno: number): string | undefined {
  return remediesOfReceiver.get(Math.abs(errno));
}

/** The remedy where that errno, negative or not, is a shortage; else undefined. */
export function remedyFor(errno: number): string | undefined {
  return remedies.get(Math.abs(errno));
}
