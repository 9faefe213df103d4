/**
 * Node's side of the showcase with Python in its own process, run by Pyodide (CPython in WebAssembly). Every route is
 * the showcase's own; only what stands in for the bridge is here. `node bench/build/node_with_pyodide.js PORT`
 */

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";

import { createHttpServer, type Route } from "../../node_side/http_server";
import { Metrics } from "../../node_side/metrics";
import { type Predictions, predictionRoutes } from "../../node_side/routes/predictions";
import type { Prediction } from "../../python_side/ml_service.py";

/** What is used of Pyodide: its own declarations want those of a browser. */
interface PyProxy {
  toJs(options: { dict_converter: typeof Object.fromEntries }): unknown;
  destroy(): void;
}
interface Pyodide {
  runPython(code: string): unknown;
  toPy(value: unknown): PyProxy;
  globals: { get(name: string): (argument: unknown) => PyProxy };
}
interface PyodideModule {
  loadPyodide: () => Promise<Pyodide>;
  version: string;
}

const { loadPyodide, version } = createRequire(__filename)("../peers/node_modules/pyodide") as PyodideModule;

const MODEL_FILE = path.join(__dirname, "..", "..", "python_side", "ml_service.py");
const REQUEST_TIMEOUT_MS = 10_000;

/** python_side/ml_service.py, run by Pyodide. */
async function loadPython(): Promise<Predictions> {
  const pyodide = await loadPyodide();
  pyodide.runPython(readFileSync(MODEL_FILE, "utf8"));
  const predict = pyodide.globals.get("predict");
  const predictBatch = pyodide.globals.get("predict_batch");
  const toPlain = (proxy: PyProxy): unknown => {
    try {
      return proxy.toJs({ dict_converter: Object.fromEntries });
    } finally {
      proxy.destroy();
    }
  };
  return {
    MODEL: "sentiment-v1",
    predict: (text) => Promise.resolve(toPlain(predict(text)) as Prediction),
    predict_batch: (texts) => {
      const list = pyodide.toPy(texts);
      try {
        return Promise.resolve(toPlain(predictBatch(list)) as Prediction[]);
      } finally {
        list.destroy();
      }
    },
  };
}

const health: Route = {
  method: "GET",
  path: "/health",
  language: "typescript",
  handle: () => ({
    body: {
      status: "healthy",
      service: "TypeScript server with Python in its process",
      runtime: `Node.js ${process.versions.node}, Pyodide ${version}`,
      polyglot: true,
      languages: ["typescript", "python"],
      features: { wsgi: false, cross_language_calls: true, shared_memory: false },
    },
  }),
};

async function main(): Promise<void> {
  const python = await loadPython();
  const routes = predictionRoutes(python);
  const server = createHttpServer([health, ...routes], new Metrics(), REQUEST_TIMEOUT_MS);
  server.listen(Number(process.argv[2]), "127.0.0.1");
  process.on("SIGTERM", () => {
    server.close();
    server.closeAllConnections();
  });
}

void main();
