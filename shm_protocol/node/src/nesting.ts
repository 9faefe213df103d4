/** What a call made while serving another takes over from it: chain, deadline and trace (PROTOCOL.md section 7). */

import type { AnsweringSession, ServedCall } from "./calls";
import { CallTimeout, CallTooDeep } from "./errors";
import { MAX_CHAIN } from "./frames";
import type { Meta } from "./meta";

/** What the caller asked for; what is undefined is not told. */
interface Asked {
  readonly timeoutMs?: number | undefined;
  readonly traceparent?: string | undefined;
  readonly kwargs?: Meta["kwargs"];
  /** The caller takes a reference where the result is no value. */
  readonly handles?: boolean | undefined;
}

/**
 * What a request on `session`, made while serving `current`, tells beside its arguments, and how long to wait.
 *
 * @throws CallTooDeep, CallTimeout
 */
export function makeMeta(
  current: ServedCall | undefined,
  session: AnsweringSession,
  method: string,
  asked: Asked,
  defaultTimeoutMs: number,
): { meta: Meta | undefined; timeoutMs: number } {
  const timeoutMs = asked.timeoutMs ?? defaultTimeoutMs;
  if (current === undefined) {
    // Unasked-for values are not sent: most calls have no meta at all.
    const isBare = asked.timeoutMs === undefined && asked.traceparent === undefined && asked.kwargs === undefined && asked.handles !== true;
    return { meta: isBare ? undefined : metaOf(asked, asked.timeoutMs, asked.traceparent), timeoutMs };
  }
  const chain = [...current.chain, current.method];
  if (chain.length >= MAX_CHAIN) throw tooDeep(chain, method);
  const left = current.remainingMs ?? Infinity;
  if (left === 0) throw new CallTimeout(`${method}: the deadline of ${current.method}, which calls it, has passed`);
  const isSooner = left < timeoutMs;
  const meta = metaOf(asked, isSooner ? left : asked.timeoutMs, asked.traceparent ?? current.traceparent);
  meta.chain = chain;
  const around = current.nearest(session);
  if (around !== undefined) meta.within = around.id;
  return { meta, timeoutMs: isSooner ? left : timeoutMs };
}

/** The error for a call that would be the 33rd of a chain. */
export function tooDeep(chain: readonly string[], method: string): CallTooDeep {
  return new CallTooDeep(`more than ${MAX_CHAIN} nested calls: ${[...chain, method].join(" -> ")}`);
}

function metaOf(asked: Asked, deadlineMs: number | undefined, traceparent: string | undefined): Meta {
  const meta: Meta = {};
  if (asked.handles === true) meta.handles = true;
  if (deadlineMs !== undefined) meta.deadlineMs = deadlineMs;
  if (traceparent !== undefined) meta.traceparent = traceparent;
  if (asked.kwargs !== undefined) meta.kwargs = asked.kwargs;
  return meta;
}
