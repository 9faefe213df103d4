/**
 * What a peer's TypeScript module offers; interface.py says the same for its Python module.
 *
 * A peer is described in `bench/peers/__init__.py`. Its modules hold what differs from peer to peer: how a value reaches
 * the other language and comes back. What is called, with what, and how it is timed is the same for all.
 */

import type { Case } from "../cases";
import type { FunctionName } from "../workload";

/** The other language, ready to be called and timed. */
export interface Caller {
  /**
   * Have the other language run `function(argument)`, one of workload.py's, and give its answer. Where the peer can
   * have several calls under way, it is called again before the answer is there; otherwise one call follows the other.
   * An in-process peer that answers synchronously gives the value itself: awaiting it would be timed too.
   */
  call(function_: FunctionName, argument: unknown): unknown;
  /** End the connection and every process that `start` made. */
  stop(): Promise<void> | void;
}

/** What one measurement of one case gave. */
export interface Measured {
  /** Of each call, in the order made. */
  times_ns: ArrayLike<number>;
  /** From the first call to the last answer. */
  elapsed_ns: number;
  /** Of that, spent looking at the answers: no part of any call's time. Nothing if left out. */
  checking_ns?: number;
  /** Of that on a processor: no part of any call's processor time. Nothing if left out. */
  checking_cpu_ns?: number;
  /** Calls that raised, or answered wrongly. */
  errors: number;
  first_error: string;
}

/** A caller whose calls begin in the other language, inside one process: only code there can time them. */
export interface MeasuringCaller extends Caller {
  /** As `bench.driver.measure`: at most so many calls, begun within so many seconds; each answer is checked. */
  measure(case_: Case, calls: number, seconds: number): Promise<Measured> | Measured;
  /** What the clock that `measure` reads costs: the median of its back-to-back differences, microseconds. */
  clockUs(): number;
}

/** A module in this folder. `start` where TypeScript is the caller, `serve` where it is the callee. */
export interface NodeModule {
  /** Reach the callee that serves in the directory `address`, or make it, where it lives in this process. */
  start?(address: string): Promise<Caller>;
  /** Run what the callers ask for until ended by a signal; resolves once a caller may start. */
  serve?(address: string): Promise<void>;
}
