/** HTTP/1.1 with kept connections and JSON bodies, by node:http; the function is the path. */

import { once } from "node:events";
import fs from "node:fs";
import http from "node:http";
import type { AddressInfo } from "node:net";
import path from "node:path";

import { functionNamed } from "../workload";
import type { Caller } from "./interface";
import { unwrap, wrap } from "../json_value";

/** Call `onBody` with the whole body, once it is there. */
function receive(message: http.IncomingMessage, onBody: (body: string) => void): void {
  const chunks: Buffer[] = [];
  message.on("data", (chunk: Buffer) => chunks.push(chunk));
  message.on("end", () => {
    onBody(Buffer.concat(chunks).toString());
  });
}

function headersOf(body: string): http.OutgoingHttpHeaders {
  return { "Content-Type": "application/json", "Content-Length": Buffer.byteLength(body) };
}

export function start(address: string): Promise<Caller> {
  const port = Number(fs.readFileSync(path.join(address, "port"), "utf8"));
  // It opens a connection for each call under way, and keeps them all.
  const agent = new http.Agent({ keepAlive: true, maxFreeSockets: Infinity });
  return Promise.resolve({
    call: (function_, argument) =>
      new Promise((resolve, reject) => {
        const body = JSON.stringify(wrap(argument));
        const request = http.request(
          { agent, host: "127.0.0.1", port, method: "POST", path: `/${function_}`, headers: headersOf(body) },
          (response) => {
            response.on("error", reject);
            receive(response, (text) => {
              if (response.statusCode === 200) resolve(unwrap(JSON.parse(text)));
              else reject(new Error(`POST /${function_}: ${response.statusCode ?? ""} ${response.statusMessage ?? ""}`));
            });
          },
        );
        request.on("error", reject);
        request.end(body);
      }),
    stop: () => {
      agent.destroy();
    },
  });
}

export async function serve(address: string): Promise<void> {
  // A connection that has been idle for long is kept too.
  const server = http.createServer({ keepAliveTimeout: 0 }, (request, response) => {
    receive(request, (text) => {
      const answer = functionNamed((request.url ?? "/").slice(1))(unwrap(JSON.parse(text)));
      const body = JSON.stringify(wrap(answer));
      response.writeHead(200, headersOf(body));
      response.end(body);
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const partial = path.join(address, "port.partial");
  fs.writeFileSync(partial, String((server.address() as AddressInfo).port));
  fs.renameSync(partial, path.join(address, "port"));
}
