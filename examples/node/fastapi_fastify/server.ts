import { BridgeError, listen } from "@shm-polyglot/protocol";
import { fastify } from "fastify";

const bridge = await listen();

const app = fastify();
app.post<{ Body: { value: number } }>("/measurements", async ({ body }, reply) => {
  try {
    return { mean: await bridge.call<number>("measurements.add", [body.value], { timeoutMs: 10_000 }) };
  } catch (error) {
    if (!(error instanceof BridgeError)) throw error;
    return reply.code(503).send({ error: error.message });
  }
});
app.addHook("onClose", () => bridge.close());
console.log("Fastify at", await app.listen({ port: Number(process.env["PORT"] ?? 3000) }));
