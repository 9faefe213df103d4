import type { IncomingMessage } from "node:http";

import { HttpError } from "./http_error";

/** The largest request body, in bytes; a longer one is a 413. */
export const MAX_BODY_BYTES = 1 << 20;

const UTF8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/**
 * The JSON object that a request must carry. Throws HttpError: 400 with the message `missing` when there is no body,
 * 400 for what is not a JSON object, 413 for a body past MAX_BODY_BYTES.
 */
export async function readJsonObject(request: IncomingMessage, missing: string): Promise<Record<string, unknown>> {
  const body = await readBody(request);
  if (body.length === 0) {
    throw new HttpError(400, missing);
  }
  const value = parse(body);
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new HttpError(400, "The body must be a JSON object");
  }
  return value as Record<string, unknown>;
}

function readBody(request: IncomingMessage): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let length = 0;
    const take = (chunk: Buffer): void => {
      length += chunk.length;
      if (length > MAX_BODY_BYTES) {
        refuse();
      } else {
        chunks.push(chunk);
      }
    };
    const refuse = (): void => {
      request.off("data", take);
      // The rest is read and forgotten: a client that is still sending would not see the answer otherwise.
      request.resume();
      reject(new HttpError(413, `The request body is larger than ${MAX_BODY_BYTES} bytes`));
    };
    if (Number(request.headers["content-length"]) > MAX_BODY_BYTES) {
      refuse();
      return;
    }
    request.on("data", take);
    request.on("end", () => {
      resolve(Buffer.concat(chunks, length));
    });
    request.on("error", reject);
  });
}

function parse(body: Buffer): unknown {
  try {
    return JSON.parse(UTF8.decode(body));
  } catch (error) {
    const reason = error instanceof SyntaxError ? error.message : "not UTF-8";
    throw new HttpError(400, `Malformed JSON: ${reason}`);
  }
}
