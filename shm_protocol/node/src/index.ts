/**
 * `@shm-polyglot/protocol`: call Python from Node and Node from Python, over shared memory.
 *
 * ```ts
 * import { listen } from "@shm-polyglot/protocol";
 * import * as typescript_utils from "./typescript_utils";
 * const bridge = await listen({ expose: { typescript_utils } });
 * await bridge.call("ml_service.predict", ["I love this"], { timeoutMs: 500 });
 * ```
 *
 * {@link listen} gives a {@link Bridge}. Every error of the bridge's is a {@link BridgeError}. The values that can be sent
 * are those of PROTOCOL.md, section 8.
 *
 * @module @shm-polyglot/protocol
 */

import "./node_version";

export { Bridge, type CallOptions, listen, type ListenOptions, type NotifyOptions, type StreamOptions } from "./bridge";
export type { BridgeEvents, BridgeListener } from "./bridge_events";
export type { BufferStats } from "./buffer_stats";
export type { ChannelStats } from "./channel_stats";
export type { ConnectionInfo, Role, TransportKind } from "./connection_info";
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
  Released,
  RemoteError,
  RemoteErrorGroup,
  UnknownMethod,
  VersionMismatch,
} from "./errors";
export type { Exposable, Exposables, ExposedFunction } from "./exposables";
export { type FileUrl, load } from "./loading";
export type { LogFields, Logger } from "./log";
export { type Callback, type CallbackMembers, type DisposedBy, type Disposing, type Handle, type HandleMembers, isHandle, type RemoteMethod } from "./references";
export { type ErrorClass, registerError } from "./registered_errors";
export { type ArrayType, disposable, dispose, sharedArray } from "./shared_arrays";
export type { ValueStream } from "./streams";
export { withOptions } from "./stubs";
export { type Key, NdArray, type NumberArray, type Value } from "./value_types";
