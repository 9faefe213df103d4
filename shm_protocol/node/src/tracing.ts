/**
 * OpenTelemetry, where the program uses it: spans for calls made and served, and the trace that travels with them.
 *
 * It is no dependency: whoever traces has registered a tracer provider with `@opentelemetry/api` before a peer connects, and only
 * then is that package looked for. What a tracer throws is logged, and keeps no call from being made or served.
 */

import { createRequire } from "node:module";
import { join } from "node:path";

import type { CallSpan } from "./calls";
import { isBridgeError, RemoteError } from "./errors";
import type { Logger } from "./log";
import { LIBRARY_VERSION } from "./package_info";
import { isError, messageOf, read, stackOf, textOf, typeOf } from "./thrown";

/** Where `@opentelemetry/api` keeps what has been registered with it, in every copy of its version 1. */
const REGISTERED = Symbol.for("opentelemetry.js.api.1");

// What is used of it.
interface SpanContext {
  readonly traceId: string;
  readonly spanId: string;
  readonly traceFlags: number;
  readonly isRemote?: boolean;
}
interface ApiSpan {
  spanContext(): SpanContext;
  isRecording(): boolean;
  setAttribute(name: string, value: string): unknown;
  setStatus(status: { code: number; message: string }): unknown;
  addEvent(name: string, attributes: Record<string, string>): unknown;
  end(): void;
}
/** Only handed on. */
type Context = object;
interface Tracer {
  startSpan(name: string, options: { kind: number; attributes: Record<string, string> }, context: Context): ApiSpan;
}
interface Api {
  readonly trace: {
    getTracer(name: string, version: string): Tracer;
    getSpan(context: Context): ApiSpan | undefined;
    setSpan(context: Context, span: ApiSpan): Context;
    wrapSpanContext(spanContext: SpanContext): ApiSpan;
    isSpanContextValid(spanContext: SpanContext): boolean;
  };
  readonly context: { active(): Context; with<R>(context: Context, run: () => R): R };
  readonly ROOT_CONTEXT: Context;
  readonly SpanKind: { readonly CLIENT: number; readonly SERVER: number };
  readonly SpanStatusCode: { readonly ERROR: number };
}

const TRACEPARENT = /^[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})/;

/** Where the program uses OpenTelemetry. `address`: the bridge's socket, for the attributes of spans. */
export function tracingInUse(address: string, log: Logger): Tracing | undefined {
  if (read(read(globalThis, REGISTERED), "trace") === undefined) return undefined;
  const api = findApi();
  if (api !== undefined) return new Tracing(api, address, log);
  log.warn("OpenTelemetry is in use, but not for calls: @opentelemetry/api cannot be found from here", { folder: process.cwd() });
  return undefined;
}

/** As this package sees it, else as the program does. */
function findApi(): Api | undefined {
  for (const from of [__filename, process.argv[1] ?? "", join(process.cwd(), "program.js")]) {
    try {
      return createRequire(from)("@opentelemetry/api") as Api;
    } catch {
      // Not from there.
    }
  }
  return undefined;
}

/** A call as a span. */
export class Span implements CallSpan {
  /** What tells it to the other side; undefined where there is nothing to tell. */
  readonly traceparent: string | undefined;
  private isOver = false;

  constructor(
    private readonly tracing: Tracing,
    private readonly span: ApiSpan | undefined,
  ) {
    this.traceparent = span && tracing.traceparentOf(span);
  }

  fail(thrown: unknown): void {
    const { span } = this;
    if (span === undefined || this.isOver) return;
    this.tracing.guarded(() => {
      if (!span.isRecording()) return;
      const [name, message] = isError(thrown) ? [nameOf(thrown), messageOf(thrown)] : [typeof thrown, textOf(thrown)];
      if (isBridgeError(thrown)) span.setAttribute("rpc.response.status_code", thrown.code);
      span.setAttribute("error.type", name);
      const stack = isError(thrown) ? stackOf(thrown) : "";
      span.addEvent("exception", { "exception.type": name, "exception.message": message, "exception.stacktrace": stack });
      span.setStatus({ code: this.tracing.errorStatus, message });
    });
  }

  end(): void {
    const { span } = this;
    if (span === undefined || this.isOver) return;
    this.isOver = true;
    this.tracing.guarded(() => { span.end(); });
  }

  /** Run `body` with this span as the current one. */
  run(around: Context, body: () => void): void {
    if (this.span === undefined) body();
    else this.tracing.runWith(around, this.span, body);
  }
}

/** The code is what the bridge's own errors are told apart by; a remote one has the type of the exception. */
function nameOf(thrown: object): string {
  if (isBridgeError<RemoteError>(thrown, RemoteError)) return textOf(thrown.type);
  return isBridgeError(thrown) ? textOf(thrown.code) : typeOf(thrown);
}

/** Makes the spans of a bridge's calls, with OpenTelemetry's semantic conventions for RPC. */
export class Tracing {
  readonly errorStatus: number;
  private readonly tracer: Tracer | undefined;

  constructor(
    private readonly api: Api,
    private readonly address: string,
    private readonly log: Logger,
  ) {
    this.errorStatus = api.SpanStatusCode.ERROR;
    this.tracer = this.guarded(() => api.trace.getTracer("@shm-polyglot/protocol", LIBRARY_VERSION));
  }

  /** Of the span that is current. */
  get traceparent(): string | undefined {
    return this.guarded(() => {
      const span = this.api.trace.getSpan(this.api.context.active());
      return span && this.traceparentOf(span);
    });
  }

  /** A call of ours begins, within the span that is current. */
  startCall(method: string): Span {
    return new Span(this, this.guarded(() => this.start(method, this.api.SpanKind.CLIENT, this.api.context.active())));
  }

  /** A call of the peer's is served: `body` runs with its span as the current one, and leaves the end of it to `keep`'s holder. */
  serve(method: string, traceparent: string | undefined, keep: (span: Span) => void, body: () => void): void {
    const around = this.guarded(() => this.callerOf(traceparent)) ?? this.api.ROOT_CONTEXT;
    const span = new Span(this, this.guarded(() => this.start(method, this.api.SpanKind.SERVER, around)));
    keep(span);
    span.run(around, body);
  }

  /** @internal */
  traceparentOf(span: ApiSpan): string | undefined {
    return this.guarded(() => {
      const told = span.spanContext();
      if (!this.api.trace.isSpanContextValid(told)) return undefined;
      return `00-${told.traceId}-${told.spanId}-${told.traceFlags.toString(16).padStart(2, "0")}`;
    });
  }

  /** @internal */
  runWith(around: Context, span: ApiSpan, body: () => void): void {
    const done: { hasRun: boolean } = { hasRun: false };
    this.guarded(() => {
      this.api.context.with(this.api.trace.setSpan(around, span), () => {
        done.hasRun = true;
        body();
      });
    });
    if (!done.hasRun) body();
  }

  /** @internal What a tracer gives, or undefined where it throws. */
  guarded<R>(look: () => R): R | undefined {
    try {
      return look();
    } catch (thrown) {
      this.log.error("OpenTelemetry's tracer failed", { error: isError(thrown) ? stackOf(thrown) : textOf(thrown) });
      return undefined;
    }
  }

  private callerOf(traceparent: string | undefined): Context {
    const told = TRACEPARENT.exec(traceparent ?? "");
    const [, traceId, spanId, flags] = told ?? [];
    if (traceId === undefined || spanId === undefined) return this.api.ROOT_CONTEXT;
    const caller = this.api.trace.wrapSpanContext({ traceId, spanId, traceFlags: parseInt(flags ?? "0", 16), isRemote: true });
    return this.api.trace.setSpan(this.api.ROOT_CONTEXT, caller);
  }

  private start(method: string, kind: number, around: Context): ApiSpan | undefined {
    const attributes = { "rpc.system.name": "shm_polyglot", "rpc.method": method, "server.address": this.address };
    return this.tracer?.startSpan(method, { kind, attributes }, around);
  }
}
