/**
 * Which served function holds the event loop. While it runs, nobody else is served and no deadline is seen: callers
 * elsewhere time out, and only the log can tell them why.
 *
 * A thread has one event loop, so this is the module's state. The clock is read once for each served call, and once for
 * each turn of the poller, which waits for messages longer than that takes.
 */

import { now as timeNow } from "./clock";

/** A function that goes on for this long without letting others have a turn is logged, in milliseconds. */
export const HELD_MS = 1000;

let since = timeNow();

/** The event loop has come round to the bridge: what it did before was none of the bridge's functions. */
export function turnBegins(): void {
  since = timeNow();
}

/** Milliseconds since the turn began, or since the last look: how long what ran in between has held the event loop. */
export function heldMs(): number {
  const now = timeNow();
  const held = now - since;
  since = now;
  return held;
}
