/**
 * What `grpc_uds.ts` and `zeromq.ts` use of their packages, so that `make lint` installs no peer.
 *
 * `make bench-setup` checks both files against the packages' own types as well: see tsconfig.peers.json.
 */

declare module "@grpc/grpc-js" {
  export interface MethodDefinition<Request, Response> {
    path: string;
    requestStream: boolean;
    responseStream: boolean;
    requestSerialize: (value: Request) => Buffer;
    requestDeserialize: (bytes: Buffer) => Request;
    responseSerialize: (value: Response) => Buffer;
    responseDeserialize: (bytes: Buffer) => Response;
  }
  export type handleUnaryCall<Request, Response> = (
    call: { request: Request },
    callback: (error: Error | null, answer?: Response) => void,
  ) => void;
  type Options = Record<string, string | number>;
  type Credentials = object;
  export const credentials: { createInsecure: () => Credentials };
  export const ServerCredentials: { createInsecure: () => Credentials };
  export class Client {
    constructor(address: string, credentials: Credentials, options?: Options);
    makeUnaryRequest<Request, Response>(
      path: string,
      serialize: (value: Request) => Buffer,
      deserialize: (bytes: Buffer) => Response,
      request: Request,
      callback: (error: Error | null, answer?: Response) => void,
    ): object;
    close(): void;
  }
  export class Server {
    constructor(options?: Options);
    addService<Handler>(methods: Record<string, object>, handlers: Record<string, Handler>): void;
    bindAsync(address: string, credentials: Credentials, callback: (error: Error | null) => void): void;
  }
}

declare module "zeromq" {
  type Parts = (Buffer | string)[];
  interface Options {
    linger?: number;
    sendHighWaterMark?: number;
    sendTimeout?: number;
  }
  class Socket implements AsyncIterable<Buffer[]> {
    constructor(options?: Options);
    bind(address: string): Promise<void>;
    connect(address: string): void;
    close(): void;
    send(parts: Parts): Promise<void>;
    [Symbol.asyncIterator](): AsyncIterator<Buffer[], undefined>;
  }
  export class Dealer extends Socket {}
  export class Router extends Socket {}
}
