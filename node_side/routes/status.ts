import type { Answer, Route } from "../http_server";
import type { Metrics } from "../metrics";
import type { PythonWorkers } from "../python_workers";

/** GET / and GET /health: what this server is, and whether Python is there; GET /api/stats: what it has done. */
export function statusRoutes(python: PythonWorkers, metrics: Metrics): Route[] {
  const health = (): Answer => describe(python);
  const stats = (): Answer => {
    const { crossLanguageCalls, ...rest } = metrics.snapshot();
    const both = crossLanguageCalls + python.callsServed;
    return { body: { ...rest, crossLanguageCalls: both, memory_shared: python.sharesMemory } };
  };
  return [
    { method: "GET", path: "/", language: "typescript", handle: health },
    { method: "GET", path: "/health", language: "typescript", handle: health },
    { method: "GET", path: "/api/stats", language: "typescript", handle: stats },
  ];
}

function describe(python: PythonWorkers): Answer {
  const attached = python.isAttached;
  return {
    status: attached ? 200 : 503,
    body: {
      status: attached ? "healthy" : "unhealthy",
      service: "shm-polyglot TypeScript server",
      runtime: `Node.js ${process.versions.node}`,
      polyglot: attached,
      languages: ["typescript", ...python.languages],
      features: {
        wsgi: python.servesWsgi,
        cross_language_calls: attached,
        shared_memory: python.sharesMemory,
      },
    },
  };
}
