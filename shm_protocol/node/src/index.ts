/**
 * `@shm-polyglot/protocol`: call Python from Node and Node from Python, over shared memory.
 *
 * ```ts
 * import { listen } from "@shm-polyglot/protocol";
 * import * as typescript_utils from "./typescript_utils";
 * const bridge = await listen({ expose: { typescript_utils } });
 * await bridge.call("ml_service.predict", ["I love this"], { timeoutMs: 500 });
 * ```
 */

export { Bridge, type CallOptions, listen, type ListenOptions, type NotifyOptions, type StreamOptions } from "./bridge";
export type { ChannelStats } from "./binding";
export type { ConnectionInfo } from "./connection";
export { currentCall, type CurrentCall } from "./current_call";
export {
  BridgeError,
  Busy,
  CallTimeout,
  CallTooDeep,
  Cancelled,
  ConnectionClosed,
  EncodeError,
  ERRORS,
  MessageTooLarge,
  PeerGone,
  PeerUnavailable,
  ProtocolError,
  RemoteError,
  UnknownMethod,
  VersionMismatch,
} from "./errors";
export type { Exposable, Exposables, ExposedFunction } from "./exposed";
export type { Role, TransportKind } from "./handshake";
export type { LogFields, Logger } from "./log";
export type { ValueStream } from "./value_stream";
export { type Key, NdArray, type NumberArray, type Value } from "./values";
