/**
 * Time as Node has it, kept from before anybody's program runs: a test's fake timers replace the globals and what
 * `node:timers` exports, and with them every call would wait for a clock that stands still.
 */

import * as timers from "node:timers";
import * as timersPromises from "node:timers/promises";

export const { setTimeout, clearTimeout, setImmediate } = timers;

export const { setImmediate: nextTurn, setTimeout: delay } = timersPromises;

export const nextTick = process.nextTick.bind(process);

/** Milliseconds of a clock that only goes forward. */
export const now: () => number = performance.now.bind(performance);
