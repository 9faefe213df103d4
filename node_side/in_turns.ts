import { setImmediate as nextTurn } from "node:timers/promises";

import { currentCall } from "@shm-polyglot/protocol";

import { piecesOf, type SegmentOptions } from "./segmenting";

/** How long a text is cut before everybody else has a turn. */
const TURN_MS = 5;

/**
 * typescript_utils.segment for a process that has other things to do: gives the event loop back every few milliseconds, and
 * stops when its caller no longer waits.
 */
export async function segment(text: string, options?: SegmentOptions): Promise<string[]> {
  const signal = currentCall()?.signal;
  const segments: string[] = [];
  let end = performance.now() + TURN_MS;
  for (const piece of piecesOf(text, options)) {
    segments.push(...piece);
    if (performance.now() >= end) {
      await nextTurn();
      signal?.throwIfAborted();
      end = performance.now() + TURN_MS;
    }
  }
  return segments;
}
