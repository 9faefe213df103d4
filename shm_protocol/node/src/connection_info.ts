/** What may be known of a connection. */

import { inspect } from "node:util";

import type { BufferStats } from "./buffer_stats";
import type { ChannelStats } from "./channel_stats";

/** A worker serves calls at any time, a client only while it waits for an answer. */
export type Role = "client" | "worker";
/** What messages travel on: shared memory, or the Unix socket alone. */
export type TransportKind = "shm" | "socket";

/**
 * What may be known of a peer that is connected: a plain object, for JSON, `structuredClone` and the log. Its numbers are
 * those of when they are read; a copy (`{ ...info }`) keeps them.
 */
export interface ConnectionInfo {
  /** Counts the connections of this bridge: 1, 2, 3, … */
  readonly id: number;
  /** What the peer calls itself. */
  readonly name: string;
  /** Calls go to workers. */
  readonly role: Role;
  /** What the messages travel on. */
  readonly transport: TransportKind;
  /** E.g. `"python 3.12.1"`. */
  readonly language: string;
  /** The version of the peer's library. */
  readonly library: string;
  /** The folder of the peer's project, as it tells it; undefined where it does not. For people: nothing vouches for it. */
  readonly project: string | undefined;
  /** The largest message both sides take, in bytes. */
  readonly maxMessage: number;
  /** Calls to the peer without an answer yet. */
  readonly outstanding: number;
  /** Calls of the peer that are being served. */
  readonly beingServed: number;
  /** Calls of the peer so far. */
  readonly served: number;
  /** Answers that came after their caller had given up, and were dropped. */
  readonly lateAnswers: number;
  /** What the shared memory has done; undefined with the socket transport, and after the end. */
  readonly channel: ChannelStats | undefined;
  /** What has become of large buffers: where they go, and what is lent and borrowed. */
  readonly buffers: BufferStats;
}

const OF_NOW: ReadonlySet<keyof ConnectionInfo> = new Set(["outstanding", "beingServed", "served", "lateAnswers", "channel", "buffers"]);
const NAMES = ["id", "name", "role", "transport", "language", "library", "project", "maxMessage", ...OF_NOW] as (keyof ConnectionInfo)[];

/** What users are given of a connection, which holds all that it works with. */
export function infoOf(connection: ConnectionInfo): ConnectionInfo {
  const info = {};
  for (const name of NAMES) {
    Object.defineProperty(info, name, {
      enumerable: true,
      ...(OF_NOW.has(name) ? { get: () => connection[name] } : { value: connection[name] }),
    });
  }
  // Else `console.log` shows that there are getters.
  Object.defineProperty(info, inspect.custom, { value: () => ({ ...info }) });
  return Object.freeze(info) as ConnectionInfo;
}
