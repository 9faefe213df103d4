/** The names of segments that processes killed during their handshake have left (PROTOCOL.md section 2). */

import { closeSync, constants, fstatSync, lstatSync, openSync, readdirSync, unlinkSync } from "node:fs";
import { join } from "node:path";

import type { Binding } from "../binding";
import { ownUid } from "../config";
import { isSegmentName } from "../handshake";
import type { Logger } from "../log";

/** Where glibc and musl keep POSIX shared memory. */
export const SHM_DIRECTORY = "/dev/shm";
/** A handshake takes at most 5 s; a segment that has kept its name for this long, and that nobody holds, was left behind. */
const STALE_MS = 60_000;
/** `O_TMPFILE` of <fcntl.h>, which Node does not name: a file without a name. */
const O_TMPFILE = 0o20000000 | constants.O_DIRECTORY;

/** Remove them. Whatever is in the way is logged and left alone: it keeps nobody from listening. */
export function removeStaleSegments(binding: Binding | Error, log: Logger): void {
  // Without the addon no segment ever comes this way, and nothing can tell whether somebody holds one.
  if (binding instanceof Error) return;
  try {
    const names = readdirSync(SHM_DIRECTORY).filter((name) => isSegmentName(`/${name}`));
    if (names.length === 0) return;
    const now = clockOf(SHM_DIRECTORY);
    for (const name of names) removeIfStale(name, now, binding, log);
  } catch (error) {
    log.warn("segments left behind cannot be looked for", { directory: SHM_DIRECTORY, error: String(error) });
  }
}

function removeIfStale(name: string, now: number, binding: Binding, log: Logger): void {
  const file = join(SHM_DIRECTORY, name);
  try {
    const status = lstatSync(file, { throwIfNoEntry: false });
    // A directory, say, is none of ours, whatever it is called.
    if (!status?.isFile() || status.uid !== ownUid() || now - status.mtimeMs < STALE_MS) return;
    if (binding.isSegmentHeld(`/${name}`) !== 0) return;
    unlinkSync(file);
    log.info("removed a segment that was left behind", { segment: name });
  } catch (error) {
    // Somebody else was quicker.
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return;
    log.warn("a segment that was left behind cannot be removed", { segment: name, error: String(error) });
  }
}

/** Now, as the file system tells it: the clock that stamped the segments too, whatever this process takes for the time. */
function clockOf(directory: string): number {
  const file = openSync(directory, O_TMPFILE | constants.O_RDWR, 0o600);
  try {
    return fstatSync(file).mtimeMs;
  } finally {
    closeSync(file);
  }
}
