/**
 * The built-in function `shm_polyglot.connections`, which `shm-polyglot top` calls: what both sides of each connection have
 * counted in its segment (PROTOCOL.md section 3). It only reads: what is watched has nothing to do for it.
 */

import type { Binding } from "./binding";
import type { ConnectionInfo } from "./connection_info";

/** `SHM_LATENCY_BUCKETS` of core/layout.h. */
export const LATENCY_BUCKETS = 112;

/** What the addon puts before the latencies, in its order (put_counters of binding.c, which a test compares). */
export const COUNTER_NAMES = [
  "messages_sent",
  "messages_received",
  "bytes_sent",
  "bytes_received",
  "doorbells_rung",
  "parks",
  "spin_budget_ns",
  "ring_bytes",
  "ring_used",
  "state",
  "calls_failed",
] as const;

const PER_SIDE = COUNTER_NAMES.length + LATENCY_BUCKETS;

/** What one side counts. `latency`: calls that it made and that have ended, by bucket. */
export type Counters = Record<(typeof COUNTER_NAMES)[number], number> & { latency: number[] };

/** Both sides of a connection. */
export interface BothCounters {
  dialer: Counters;
  acceptor: Counters;
}

const words = new Float64Array(2 * PER_SIDE);

/** The counters of an open channel whose acceptor this side is. */
export function readCounters(binding: Binding, channel: number): BothCounters {
  binding.readCounters(channel, words);
  return { dialer: countersAt(0), acceptor: countersAt(PER_SIDE) };
}

function countersAt(start: number): Counters {
  // A hostile peer stores what it likes, also what would not be sent as an int.
  const [first, latency] = [words.subarray(start, start + COUNTER_NAMES.length), words.subarray(start + COUNTER_NAMES.length, start + PER_SIDE)];
  const bounded = (word: number): number => Math.min(word, Number.MAX_SAFE_INTEGER);
  const named = Object.fromEntries(COUNTER_NAMES.map((name, index) => [name, bounded(first[index] as number)]));
  return { ...named, latency: Array.from(latency, bounded) } as Counters;
}

/** A connection and what may be asked of it. */
export interface Watched extends ConnectionInfo {
  /** Undefined with the socket transport, and after the end. */
  readonly counters: BothCounters | undefined;
}

/** What the built-in function answers. `asker`: the connection that its caller has. */
export function describeConnections(connections: Iterable<Watched>, asker: Watched | undefined): Record<string, unknown>[] {
  return Array.from(connections, (connection) => ({
    id: connection.id,
    asks: connection === asker,
    name: connection.name,
    role: connection.role,
    language: connection.language,
    library: connection.library,
    project: connection.project ?? null,
    transport: connection.transport,
    outstanding: connection.outstanding,
    being_served: connection.beingServed,
    late_answers: connection.lateAnswers,
    buffers: {
      path: connection.buffers.path,
      lent: connection.buffers.lent,
      borrowed: connection.buffers.borrowed,
      bytes_lent: connection.buffers.bytesLent,
      pool_bytes: connection.buffers.poolBytes,
    },
    counters: connection.counters ?? null,
  }));
}
