import { createServer } from "node:http";

import { listen } from "@shm-polyglot/protocol";

const bridge = await listen();

createServer((request, response) => {
  const name = new URL(request.url ?? "/", "http://localhost").pathname.slice("/hello/".length);
  bridge.call<string>("greetings.greet", [name], { timeoutMs: 10_000 }).then(
    (greeting) => response.end(`${greeting}\n`),
    (error: unknown) => response.writeHead(502).end(`${String(error)}\n`),
  );
}).listen(Number(process.env["PORT"] ?? 3000), "127.0.0.1");
