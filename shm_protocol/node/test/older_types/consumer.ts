/** Uses what users use, so that the compilers look at every declaration that they reach. Never run. */

import {
  Bridge,
  BridgeError,
  type BridgeEvents,
  type BridgeListener,
  type CallOptions,
  type ChannelStats,
  type ConnectionInfo,
  currentCall,
  type CurrentCall,
  ERRORS,
  type Exposables,
  type Key,
  listen,
  type ListenOptions,
  type LogFields,
  type Logger,
  NdArray,
  type NotifyOptions,
  type NumberArray,
  RemoteError,
  type Role,
  type StreamOptions,
  type TransportKind,
  type Value,
  type ValueStream,
} from "@shm-polyglot/protocol";

export interface Seen {
  stats: ChannelStats | undefined;
  role: Role;
  transport: TransportKind;
  key: Key;
  array: NumberArray;
  codes: string[];
}

const log: Logger = {
  info: (message: string, fields?: LogFields) => { console.log(message, fields); },
  warn: () => undefined,
  error: () => undefined,
};

const functions: Exposables = {
  module: {
    add: (a: number, b: number): number => a + b,
    deadline: (): number | undefined => {
      const call: CurrentCall | undefined = currentCall();
      return call?.remainingMs;
    },
    async *count(to: number): AsyncGenerator<number> {
      for (let n = 0; n < to; n++) yield await Promise.resolve(n);
    },
  },
};

export async function use(options: ListenOptions): Promise<Seen[]> {
  const bridge: Bridge = await listen({ ...options, expose: functions, log });
  bridge.on("connect", (connection) => { console.log(connection.name, connection.role); });
  const events: (keyof BridgeEvents)[] = ["connect", "disconnect"];
  const left: BridgeListener<"disconnect"> = (connection, error) => { console.log(events, connection.id, error?.code); };
  bridge.off("disconnect", left);
  bridge.once("disconnect", (connection: ConnectionInfo, error) => { console.log(connection.id, error?.code); });
  bridge.on("error", (error: Error) => { console.log(error.message); });
  const call: CallOptions = { timeoutMs: 100, signal: new AbortController().signal, idempotent: true };
  const stream: StreamOptions = { credit: 8 };
  const notify: NotifyOptions = { traceparent: "00-0-0-0" };
  const label = await bridge.call<string>("m.f", ["text", new NdArray(new Float64Array(4), [2, 2])], call);
  const value: Value = await bridge.call("m.f", [label]);
  bridge.notify("m.g", [value], notify);
  try {
    const items: ValueStream = bridge.stream("m.h", [], stream);
    for await (const item of items) console.log(item);
  } catch (error) {
    if (error instanceof RemoteError) console.log(error.type, error.data, error.remoteStack);
    else if (error instanceof BridgeError) console.log(error.code, Object.keys(ERRORS));
  }
  const seen = bridge.connections.map((one) => ({
    stats: one.channel,
    role: one.role,
    transport: one.transport,
    key: "k",
    array: new Uint8ClampedArray(1),
    codes: Object.keys(ERRORS),
  }));
  await bridge.close();
  return seen;
}
