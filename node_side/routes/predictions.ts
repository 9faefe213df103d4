import type { Route } from "../http_server";
import { HttpError } from "../http_error";
import { readJsonObject, requireText } from "../json_body";
import { MODEL, type Python } from "../python";

const MAX_BATCH = 100;

/** POST /api/predict and POST /api/batch: answered with Python's model. */
export function predictionRoutes(python: Pick<Python, "predict" | "predictBatch">): Route[] {
  return [
    {
      method: "POST",
      path: "/api/predict",
      language: "python",
      async handle(request) {
        const text = textOf(await readJsonObject(request, "Missing text field"));
        const prediction = await python.predict(text);
        return { body: { text, prediction, model: MODEL, timestamp: new Date().toISOString() } };
      },
    },
    {
      method: "POST",
      path: "/api/batch",
      language: "python",
      async handle(request) {
        const texts = textsOf(await readJsonObject(request, "Missing texts array"));
        const predictions = await python.predictBatch(texts);
        const results = texts.map((text, index) => ({ text, prediction: predictions[index] }));
        return { body: { results, count: results.length, model: MODEL, timestamp: new Date().toISOString() } };
      },
    },
  ];
}

function textOf(body: Record<string, unknown>): string {
  const text = body["text"];
  if (text === undefined || text === "") {
    throw new HttpError(400, "Missing text field");
  }
  return requireText(text, "text");
}

function textsOf(body: Record<string, unknown>): string[] {
  const texts = body["texts"];
  if (texts === undefined) {
    throw new HttpError(400, "Missing texts array");
  }
  if (!Array.isArray(texts)) {
    throw new HttpError(400, "texts must be an array");
  }
  if (texts.length > MAX_BATCH) {
    throw new HttpError(400, `Maximum ${MAX_BATCH} texts per batch`);
  }
  return texts.map((text: unknown, index) => requireText(text, `texts[${index}]`));
}
