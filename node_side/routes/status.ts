import type { Bridge } from "@shm-polyglot/protocol";

import type { Answer, Route } from "../http_server";
import type { Metrics } from "../metrics";
import { ServedCalls } from "../served_calls";

/** GET / and GET /health: what this server is, and whether Python is there; GET /api/stats: what it has done. */
export function statusRoutes(bridge: Bridge, metrics: Metrics): Route[] {
  const served = new ServedCalls(bridge);
  const health = (): Answer => describe(bridge);
  const stats = (): Answer => {
    const { crossLanguageCalls, ...rest } = metrics.snapshot();
    const both = crossLanguageCalls + served.count;
    return { body: { ...rest, crossLanguageCalls: both, memory_shared: sharesMemory(bridge) } };
  };
  return [
    { method: "GET", path: "/", language: "typescript", handle: health },
    { method: "GET", path: "/health", language: "typescript", handle: health },
    { method: "GET", path: "/api/stats", language: "typescript", handle: stats },
  ];
}

function describe(bridge: Bridge): Answer {
  const workers = bridge.connections.filter((connection) => connection.role === "worker");
  const attached = workers.length > 0;
  return {
    status: attached ? 200 : 503,
    body: {
      status: attached ? "healthy" : "unhealthy",
      service: "shm-polyglot TypeScript server",
      runtime: `Node.js ${process.versions.node}`,
      polyglot: attached,
      // A worker says e.g. `python 3.12.1`.
      languages: ["typescript", ...new Set(workers.map(({ language }) => language.replace(/ .*/, "")))],
      features: {
        wsgi: workers.some(({ name }) => name.startsWith("gunicorn ")),
        cross_language_calls: attached,
        shared_memory: sharesMemory(bridge),
      },
    },
  };
}

/** Whether Python's connections go through shared memory; with the socket transport they do not. */
function sharesMemory(bridge: Bridge): boolean {
  return bridge.connections.some((connection) => connection.transport === "shm");
}
