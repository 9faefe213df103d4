/** HTTP/1.1 with a kept connection and JSON bodies, by node:http. */

import { once } from "node:events";
import fs from "node:fs";
import http from "node:http";
import type { AddressInfo } from "node:net";
import path from "node:path";

import { echo } from "../workload";
import type { Caller } from "./interface";

async function readBody(message: http.IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = [];
  for await (const chunk of message) chunks.push(chunk as Buffer);
  return JSON.parse(Buffer.concat(chunks).toString());
}

export function connect(address: string): Promise<Caller> {
  const port = Number(fs.readFileSync(path.join(address, "port"), "utf8"));
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
  return Promise.resolve({
    call: (value) =>
      new Promise((resolve, reject) => {
        const body = JSON.stringify(value);
        const request = http.request(
          {
            agent,
            host: "127.0.0.1",
            port,
            method: "POST",
            path: "/echo",
            headers: { "Content-Type": "application/json", "Content-Length": Buffer.byteLength(body) },
          },
          (response) => {
            readBody(response).then(resolve, reject);
          },
        );
        request.on("error", reject);
        request.end(body);
      }),
    close: () => {
      agent.destroy();
      return Promise.resolve();
    },
  });
}

export async function serve(address: string): Promise<void> {
  const server = http.createServer((request, response) => {
    void readBody(request).then((value) => {
      const body = JSON.stringify(echo(value));
      response.writeHead(200, { "Content-Type": "application/json", "Content-Length": Buffer.byteLength(body) });
      response.end(body);
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const partial = path.join(address, "port.partial");
  fs.writeFileSync(partial, String((server.address() as AddressInfo).port));
  fs.renameSync(partial, path.join(address, "port"));
}
