/** The TypeScript half of the showcase. `ts-node node_side/server.ts` runs it; SIGTERM and SIGINT end it. */

import type { Server } from "node:http";
import { once } from "node:events";

import { listen, type Bridge } from "@shm-polyglot/protocol";

import { bridgeLog } from "./bridge_log";
import { createHttpServer } from "./http_server";
import { segment } from "./in_turns";
import { log } from "./log";
import { Metrics } from "./metrics";
import { Python } from "./python";
import { benchmarkRoute } from "./routes/benchmark";
import { predictionRoutes } from "./routes/predictions";
import { statusRoutes } from "./routes/status";
import { loadSettings } from "./settings";
import * as typescript_utils from "./typescript_utils";

/** How long requests may take to finish after SIGTERM. */
const DRAIN_MS = 10_000;
const CLOSE_IDLE_EVERY_MS = 50;

async function main(): Promise<void> {
  const settings = loadSettings(process.env);
  const bridge = await listen({ expose: { typescript_utils: { ...typescript_utils, segment } }, log: bridgeLog });
  const metrics = new Metrics();
  const python = new Python(bridge, metrics, settings.callTimeoutMs);
  const routes = [...statusRoutes(bridge, metrics), ...predictionRoutes(python), benchmarkRoute(python)];
  const server = createHttpServer(routes, metrics, settings.requestTimeoutMs);
  try {
    await startListening(server, settings.host, settings.port);
  } catch (error) {
    await bridge.close();
    throw error;
  }
  log.info("listening", { url: `http://${settings.host}:${settings.port}` });
  const signal = await Promise.race([once(process, "SIGTERM"), once(process, "SIGINT")]);
  log.info("stopping", { signal: signal[0] as string });
  await stop(server, bridge);
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

async function stop(server: Server, bridge: Bridge): Promise<void> {
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
  await bridge.close();
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
