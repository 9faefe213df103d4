import { runBenchmark } from "../benchmark";
import { HttpError } from "../http_error";
import type { Route } from "../http_server";
import type { PythonWorkers } from "../python_workers";

const DEFAULT_ITERATIONS = 10_000;
const MAX_ITERATIONS = 100_000;

/** GET /api/benchmark: one run at a time, because two would measure each other. */
export function benchmarkRoute(python: PythonWorkers): Route {
  let running = false;
  return {
    method: "GET",
    path: "/api/benchmark",
    language: "python",
    async handle(_request, query) {
      const iterations = iterationsOf(query);
      if (running) {
        throw new HttpError(429, "A benchmark is running", { "Retry-After": "5" });
      }
      running = true;
      try {
        return { body: { ...(await runBenchmark(python, iterations)) } };
      } finally {
        running = false;
      }
    },
  };
}

function iterationsOf(query: URLSearchParams): number {
  const text = query.get("iterations");
  if (text === null) {
    return DEFAULT_ITERATIONS;
  }
  const iterations = /^\d+$/.test(text) ? Number(text) : NaN;
  if (!(iterations >= 1 && iterations <= MAX_ITERATIONS)) {
    throw new HttpError(400, `iterations must be a whole number from 1 to ${MAX_ITERATIONS}`);
  }
  return iterations;
}
