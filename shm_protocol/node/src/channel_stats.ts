/** What a connection over shared memory has done so far, on this side. */
export interface ChannelStats {
  /** Messages sent: calls, answers, items of streams and what both sides tell each other about them. */
  messagesSent: number;
  /** Messages received, likewise. */
  messagesReceived: number;
  /** Bytes of the messages sent. */
  bytesSent: number;
  /** Bytes of the messages received. */
  bytesReceived: number;
  /** How often this side has woken the other one, which had parked. */
  doorbellsRung: number;
  /** How often this side has parked. */
  parks: number;
  /** How long this side polls before it parks, now, in nanoseconds. */
  spinBudgetNs: number;
}
