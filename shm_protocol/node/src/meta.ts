/** What travels beside the arguments of a call. */
export interface Meta {
  /** Milliseconds the caller would still wait, when it sent the frame. */
  deadlineMs?: number | undefined;
  /** Methods being served above this call, outermost first. */
  chain?: readonly string[] | undefined;
  /** W3C trace context. */
  traceparent?: string | undefined;
  /** The caller wants a stream and grants this many items. */
  stream?: number | undefined;
  /** Made while serving the request of this id that came by the same connection. */
  within?: number | undefined;
  /** Keyword arguments. Those of a request that has come are a plain object of values. */
  kwargs?: Readonly<Record<string, unknown>> | undefined;
  /** The caller takes a reference where the result, or an item, is no value. */
  handles?: boolean | undefined;
}
