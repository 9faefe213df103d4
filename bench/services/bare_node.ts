/**
 * The floor: node:http with as little around it as will answer, in TypeScript alone. What a service takes longer than
 * this is its own; what this takes is HTTP, Node, and the generator of the load. `node bare_node.js PORT`
 */

import { createServer, type IncomingMessage, type ServerResponse } from "node:http";

import { predict } from "../workload";

const MODEL = "sentiment-v1";

async function readJson<T>(request: IncomingMessage): Promise<T> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return JSON.parse(Buffer.concat(chunks).toString()) as T;
}

function send(response: ServerResponse, status: number, value: object): void {
  const body = JSON.stringify(value);
  response.writeHead(status, { "Content-Type": "application/json", "Content-Length": Buffer.byteLength(body) });
  response.end(body);
}

async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const timestamp = new Date().toISOString();
  if (request.url === "/health") {
    send(response, 200, { status: "healthy" });
  } else if (request.url === "/api/predict") {
    const { text } = await readJson<{ text: string }>(request);
    send(response, 200, { text, prediction: predict(text), model: MODEL, timestamp });
  } else if (request.url === "/api/batch") {
    const { texts } = await readJson<{ texts: string[] }>(request);
    const results = texts.map((text) => ({ text, prediction: predict(text) }));
    send(response, 200, { results, count: results.length, model: MODEL, timestamp });
  } else {
    send(response, 404, { error: "Not found" });
  }
}

const server = createServer((request, response) => void answer(request, response));
server.listen(Number(process.argv[2]), "127.0.0.1");
process.on("SIGTERM", () => {
  server.close();
  server.closeAllConnections();
});
