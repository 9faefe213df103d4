/** What the TypeScript half of a peer offers; interface.py says the same for the Python half. */

/** A connection to the callee, ready to be timed. */
export interface Caller {
  /** Have the callee run `echo(value)`; give its answer. */
  call(value: string): Promise<unknown>;
  /** End the connection. */
  close(): Promise<void>;
}

/** A module in this folder. */
export interface NodeHalf {
  /** Connect to the callee that meets us in the directory `address`. */
  connect(address: string): Promise<Caller>;
  /** Answer `echo` until ended by a signal; resolves once a caller may connect. */
  serve(address: string): Promise<void>;
}
