// The routes of Server.java, in JavaScript: node_side's, of which /api/predict and /api/batch call Python in this
// process. node_side's own code wants Node's streams and promises, which GraalJS in a JVM has not.
"use strict";

const MAX_BATCH = 100;

/** An answer that is an error, with the status of the contract. */
class HttpError extends Error {
  constructor(status, message, allow) {
    super(message);
    this.status = status;
    this.allow = allow;
  }
}

function jsonObject(body, missing) {
  if (body === "") throw new HttpError(400, missing);
  let value;
  try {
    value = JSON.parse(body);
  } catch (error) {
    throw new HttpError(400, `Malformed JSON: ${error.message}`);
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new HttpError(400, "The body must be a JSON object");
  }
  return value;
}

function textOf({ text }) {
  if (text === undefined || text === "") throw new HttpError(400, "Missing text field");
  if (typeof text !== "string") throw new HttpError(400, "text must be a string");
  return text;
}

function textsOf({ texts }) {
  if (texts === undefined) throw new HttpError(400, "Missing texts array");
  if (!Array.isArray(texts)) throw new HttpError(400, "texts must be an array");
  if (texts.length > MAX_BATCH) throw new HttpError(400, `Maximum ${MAX_BATCH} texts per batch`);
  texts.forEach((text, index) => {
    if (typeof text !== "string") throw new HttpError(400, `texts[${index}] must be a string`);
  });
  return texts;
}

/** The function that answers a request. `model` is Python's module ml_service, `runtime` says what runs here. */
function server(model, runtime) {
  // A dict of Python looks like a Map here.
  const predictionOf = (dict) => Object.fromEntries(dict);
  const about = { model: model.MODEL };

  const health = () => ({
    status: "healthy",
    service: "TypeScript server with Python in its process",
    runtime,
    polyglot: true,
    languages: ["typescript", "python"],
    // What crosses is not copied: both languages are on one heap.
    features: { wsgi: false, cross_language_calls: true, shared_memory: true },
  });

  const predict = (body) => {
    const text = textOf(jsonObject(body, "Missing text field"));
    return { text, prediction: predictionOf(model.predict(text)), ...about, timestamp: new Date().toISOString() };
  };

  const batch = (body) => {
    const texts = textsOf(jsonObject(body, "Missing texts array"));
    const predictions = model.predict_batch(texts);
    const results = texts.map((text, index) => ({ text, prediction: predictionOf(predictions[index]) }));
    return { results, count: results.length, ...about, timestamp: new Date().toISOString() };
  };

  const routes = new Map([
    ["/", { GET: health }],
    ["/health", { GET: health }],
    ["/api/predict", { POST: predict }],
    ["/api/batch", { POST: batch }],
  ]);

  const find = (method, path) => {
    const methods = routes.get(path);
    if (methods === undefined) throw new HttpError(404, "Not found");
    const route = methods[method === "HEAD" ? "GET" : method];
    if (route === undefined) {
      const allowed = [...Object.keys(methods), ...("GET" in methods ? ["HEAD"] : []), "OPTIONS"];
      throw new HttpError(405, "Method not allowed", allowed.join(", "));
    }
    return route;
  };

  return (method, path, body) => {
    if (method === "OPTIONS") return { status: 200, body: "" };
    try {
      return { status: 200, body: JSON.stringify(find(method, path)(body)) };
    } catch (error) {
      if (!(error instanceof HttpError)) throw error;
      const answer = { status: error.status, body: JSON.stringify({ error: error.message }) };
      return error.allow === undefined ? answer : { ...answer, allow: error.allow };
    }
  };
}

globalThis.server = server;
