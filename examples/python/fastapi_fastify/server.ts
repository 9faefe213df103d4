import { listen } from "@shm-polyglot/protocol";
import { fastify } from "fastify";

/** What Python's standard library does not have: words of any language. */
function words(text: string, language: string): string[] {
  const segments = new Intl.Segmenter(language, { granularity: "word" }).segment(text);
  return Array.from(segments).filter(({ isWordLike }) => isWordLike).map(({ segment }) => segment);
}

const bridge = await listen({ expose: { segmenter: { words } } });

// Fastify goes on serving its own routes.
const app = fastify();
app.get("/status", () => ({ connections: bridge.connections.length }));
app.addHook("onClose", () => bridge.close());
console.log("Fastify at", await app.listen({ port: Number(process.env["PORT"] ?? 3000) }));
