/** The TypeScript half of the showcase. `ts-node node_side/server.ts` runs it; SIGTERM and SIGINT end it. */

import "@shm-polyglot/protocol/register";

import type { Server } from "node:http";
import { once } from "node:events";

import { MODEL, predict, predict_batch } from "../python_side/ml_service.py";
import { createHttpServer } from "./http_server";
import { log } from "./log";
import { Metrics } from "./metrics";
import { PythonWorkers } from "./python_workers";
import { benchmarkRoute } from "./routes/benchmark";
import { predictionRoutes } from "./routes/predictions";
import { statusRoutes } from "./routes/status";
import { loadSettings } from "./settings";

/** How long requests may take to finish after SIGTERM. */
const DRAIN_MS = 10_000;
const CLOSE_IDLE_EVERY_MS = 50;

async function main(): Promise<void> {
  const settings = loadSettings(process.env);
  const metrics = new Metrics();
  const python = await PythonWorkers.open(metrics, settings.callTimeoutMs);
  const routes = [
    ...statusRoutes(python, metrics),
    ...predictionRoutes({ MODEL, predict: python.calls(predict), predict_batch: python.calls(predict_batch) }),
    benchmarkRoute(python),
  ];
  const server = createHttpServer(routes, metrics, settings.requestTimeoutMs);
  try {
    await startListening(server, settings.host, settings.port);
  } catch (error) {
    await python.close();
    throw error;
  }
  log.info("listening", { url: `http://${settings.host}:${settings.port}` });
  const signal = await Promise.race([once(process, "SIGTERM"), once(process, "SIGINT")]);
  log.info("stopping", { signal: signal[0] as string });
  await stop(server, python);
}

async function startListening(server: Server, host: string, port: number): Promise<void> {
  server.listen(port, host);
  try {
    await once(server, "listening");
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === "EADDRINUSE") {
      throw new Error(`port ${port} on ${host} is taken; choose another with SHM_POLYGLOT_NODE_PORT`);
    }
    throw new Error(`${message}; see SHM_POLYGLOT_NODE_HOST and SHM_POLYGLOT_NODE_PORT`);
  }
}

async function stop(server: Server, python: PythonWorkers): Promise<void> {
  const closed = new Promise((resolve) => server.close(resolve));
  // Those that had a request under way become idle later.
  const idle = setInterval(() => {
    server.closeIdleConnections();
  }, CLOSE_IDLE_EVERY_MS);
  const overdue = setTimeout(() => {
    log.warn("requests were cut off", { after_ms: DRAIN_MS });
    server.closeAllConnections();
  }, DRAIN_MS);
  await closed;
  clearInterval(idle);
  clearTimeout(overdue);
  await python.close();
}

main().catch((error: unknown) => {
  // A setting, a port, the socket, a folder's mode: the message says what to do. A TypeError is a bug.
  if (error instanceof Error && !(error instanceof TypeError)) {
    log.error(error.message);
  } else {
    log.error("the server failed", { error: error instanceof Error ? error : String(error) });
  }
  process.exitCode = 1;
});
