/**
 * A Node program that traces: it registers a provider, calls Python, and prints the spans that have ended. Python calls back.
 * `node -r ts-node/register traced_node.ts METHOD ARGUMENTS`, the arguments as JSON.
 */

import { context, SpanStatusCode, trace } from "@opentelemetry/api";
import { AsyncLocalStorageContextManager } from "@opentelemetry/context-async-hooks";
import { BasicTracerProvider, InMemorySpanExporter, SimpleSpanProcessor } from "@opentelemetry/sdk-trace-base";
import { listen, type Value } from "@shm-polyglot/protocol";

const [method = "", argumentsAsJson = "[]"] = process.argv.slice(2);
const exporter = new InMemorySpanExporter();
if (process.env["UNTRACED"] === undefined) {
  trace.setGlobalTracerProvider(new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] }));
  context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
}

async function main(): Promise<void> {
  const functions = {
    echo: (value: Value) => value,
    fail: () => { throw new RangeError("too far"); },
    spanOf: () => trace.getActiveSpan()?.spanContext().traceId ?? null,
  };
  const bridge = await listen({ expose: { functions } });
  bridge.on("connect", ({ role }) => {
    if (role !== "worker") return;
    const request = trace.getTracer("test").startSpan("GET /", { root: true });
    void context.with(trace.setSpan(context.active(), request), async () => {
      const answer = await bridge.call(method, JSON.parse(argumentsAsJson) as Value[]).catch((error: unknown) => String(error));
      request.end();
      // Of the served calls, those spans are Python's to tell.
      const spans = exporter.getFinishedSpans().map((span) => ({
        name: span.name,
        kind: span.kind,
        trace: span.spanContext().traceId,
        span: span.spanContext().spanId,
        parent: span.parentSpanContext?.spanId ?? null,
        attributes: span.attributes,
        failed: span.status.code === SpanStatusCode.ERROR,
        events: span.events.map(({ name }) => name),
      }));
      console.log(JSON.stringify({ answer, spans }));
      process.exit();
    });
  });
  console.log("listening");
}

void main();
