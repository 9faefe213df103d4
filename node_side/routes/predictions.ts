import type * as ml_service from "../../python_side/ml_service.py";
import type { Route } from "../http_server";
import { HttpError } from "../http_error";
import { readJsonObject, requireText } from "../json_body";

const MAX_BATCH = 100;

/** What the routes have of Python's module. */
export type Predictions = Pick<typeof ml_service, "MODEL" | "predict" | "predict_batch">;

/** POST /api/predict and POST /api/batch: answered with Python's model. */
export function predictionRoutes({ MODEL, predict, predict_batch }: Predictions): Route[] {
  return [
    {
      method: "POST",
      path: "/api/predict",
      language: "python",
      async handle(request) {
        const text = textOf(await readJsonObject(request, "Missing text field"));
        const prediction = await predict(text);
        return { body: { text, prediction, model: MODEL, timestamp: new Date().toISOString() } };
      },
    },
    {
      method: "POST",
      path: "/api/batch",
      language: "python",
      async handle(request) {
        const texts = textsOf(await readJsonObject(request, "Missing texts array"));
        const predictions = await predict_batch(texts);
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
