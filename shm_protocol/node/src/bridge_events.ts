/** What a bridge tells its listeners. */

import { EventEmitter } from "node:events";

import type { ConnectionInfo } from "./connection_info";
import type { BridgeError } from "./errors";

/** Each event with its arguments. */
export interface BridgeEvents {
  /** A peer has connected. What a listener throws is uncaught, as with every EventEmitter: by default it ends the process. */
  connect: [connection: ConnectionInfo];
  /** A peer's connection has ended; `error` says why if it was not the peer's own doing. */
  disconnect: [connection: ConnectionInfo, error: BridgeError | undefined];
}

/** A listener of one event. */
export type BridgeListener<Event extends keyof BridgeEvents> = (...args: BridgeEvents[Event]) => void;
type AnyListener = (...args: never[]) => void;

/**
 * Node's EventEmitter for these events. It is typed here, because the project of a user may have no
 * @types/node, or one in which EventEmitter has no type parameter; and it suits what takes an EventEmitter, such as
 * `once` of `node:events`. The reference leaves out what is the same for every EventEmitter.
 */
export interface BridgeEmitter {
  /** Have a listener told of an event, each time, after those that are there already. Returns this bridge. */
  on<Event extends keyof BridgeEvents>(event: Event, listener: BridgeListener<Event>): this;
  /** @hidden */
  on(event: string | symbol, listener: AnyListener): this;
  /** As `on`, but only the next time. */
  once<Event extends keyof BridgeEvents>(event: Event, listener: BridgeListener<Event>): this;
  /** @hidden */
  once(event: string | symbol, listener: AnyListener): this;
  /** Have a listener told no more. Returns this bridge. */
  off<Event extends keyof BridgeEvents>(event: Event, listener: BridgeListener<Event>): this;
  /** @hidden */
  off(event: string | symbol, listener: AnyListener): this;
  /** @hidden */
  addListener(event: string | symbol, listener: AnyListener): this;
  /** @hidden */
  removeListener(event: string | symbol, listener: AnyListener): this;
  /** @hidden */
  prependListener(event: string | symbol, listener: AnyListener): this;
  /** @hidden */
  prependOnceListener(event: string | symbol, listener: AnyListener): this;
  /** @hidden */
  removeAllListeners(event?: string | symbol): this;
  /** @hidden */
  emit<Event extends keyof BridgeEvents>(event: Event, ...args: BridgeEvents[Event]): boolean;
  /** @hidden */
  emit(event: string | symbol, ...args: unknown[]): boolean;
  /** @hidden */
  eventNames(): (string | symbol)[];
  /** @hidden */
  listeners(event: string | symbol): AnyListener[];
  /** @hidden */
  rawListeners(event: string | symbol): AnyListener[];
  /** @hidden */
  listenerCount(event: string | symbol): number;
  /** @hidden */
  getMaxListeners(): number;
  /** @hidden */
  setMaxListeners(count: number): this;
}

/** Its class. */
export const BridgeEmitter = EventEmitter as unknown as new () => BridgeEmitter;
