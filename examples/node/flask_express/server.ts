import { BridgeError, listen, RemoteError } from "@shm-polyglot/protocol";
import express, { type ErrorRequestHandler } from "express";

const bridge = await listen();

const app = express();
app.get("/can-order/:name/:count", async (request, response) => {
  const stock = await bridge.call<number>("in_stock", [request.params.name], { timeoutMs: 10_000 });
  response.json({ stock, enough: stock >= Number(request.params.count) });
});

const onError: ErrorRequestHandler = (error: unknown, _request, response, next) => {
  if (error instanceof RemoteError && error.type === "LookupError") response.status(404).json({ error: error.message });
  else if (error instanceof BridgeError) response.status(503).json({ error: error.message });
  else next(error);
};
app.use(onError);

app.listen(Number(process.env["PORT"] ?? 3000), "127.0.0.1");
