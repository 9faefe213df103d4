/**
 * gRPC over a Unix socket: unary calls, the function's name as the method's, MessagePack of [value] as the message.
 *
 * That is gRPC with a serializer of one's own: Protocol Buffers would need a message type for each function's values. The
 * value stands in an array because gRPC takes null for no message at all.
 */

import path from "node:path";

import { Client, credentials, Server, ServerCredentials, type handleUnaryCall, type MethodDefinition } from "@grpc/grpc-js";
import { pack, unpack } from "msgpackr";

import { FUNCTIONS, functionNamed } from "../workload";
import { plain } from "./bytes";
import type { Caller } from "./interface";

const SERVICE = "bench.Workload";
// No limit: the largest payload has as many bytes as gRPC's own limit, and a frame around them.
const OPTIONS = { "grpc.max_receive_message_length": -1, "grpc.max_send_message_length": -1 };

type Message = [value: unknown];

function target(address: string): string {
  return `unix:${path.join(address, "grpc.sock")}`;
}

function pathOf(function_: string): string {
  return `/${SERVICE}/${function_}`;
}

function method(function_: string): MethodDefinition<Message, Message> {
  return {
    path: pathOf(function_),
    requestStream: false,
    responseStream: false,
    requestSerialize: pack,
    requestDeserialize: unpack,
    responseSerialize: pack,
    responseDeserialize: unpack,
  };
}

export function start(address: string): Promise<Caller> {
  const client = new Client(target(address), credentials.createInsecure(), OPTIONS);
  return Promise.resolve({
    call: (function_, argument) =>
      new Promise((resolve, reject) => {
        client.makeUnaryRequest<Message, Message>(pathOf(function_), pack, unpack, [argument], (error, answer) => {
          if (error === null && answer !== undefined) resolve(plain(answer[0]));
          else reject(error ?? new Error(`gRPC gave neither an answer nor an error to a call of ${function_}`));
        });
      }),
    stop: () => {
      client.close();
    },
  });
}

export async function serve(address: string): Promise<void> {
  const server = new Server(OPTIONS);
  const methods: Record<string, MethodDefinition<Message, Message>> = {};
  const handlers: Record<string, handleUnaryCall<Message, Message>> = {};
  for (const name of Object.keys(FUNCTIONS)) {
    const function_ = functionNamed(name);
    methods[name] = method(name);
    handlers[name] = ({ request: [argument] }, answer) => {
      answer(null, [function_(argument)]);
    };
  }
  server.addService(methods, handlers);
  await new Promise<void>((resolve, reject) => {
    server.bindAsync(target(address), ServerCredentials.createInsecure(), (error) => {
      if (error === null) resolve();
      else reject(error);
    });
  });
}
