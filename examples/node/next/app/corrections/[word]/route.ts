import { BridgeError } from "@shm-polyglot/protocol";

import { bridge } from "../../../bridge";

export async function GET(_: Request, { params }: { params: Promise<{ word: string }> }): Promise<Response> {
  const { word } = await params;
  const python = await bridge();
  try {
    return Response.json(await python.call<string[]>("spelling.corrections", [word], { timeoutMs: 10_000 }));
  } catch (error) {
    if (!(error instanceof BridgeError)) throw error;
    return Response.json({ error: error.message }, { status: 503 });
  }
}
