/** The workers that are connected, what each of them exposes, and which of them the next call goes to. */

import { MAX_EXPOSED } from "./frames";

/** A busy worker is taken for one that has so many more calls to answer: it serves none until what it does has ended. */
const BUSY_CALLS = 64;

/** What must be known of a worker. */
export interface Worker {
  /** Calls to it that have no answer yet. */
  readonly outstanding: number;
  /** It names what it exposes; else it may have any function. */
  readonly names: boolean;
  /** Whether it is occupied with something else. */
  isPeerBusy(): boolean;
}

/**
 * Who exposes what is one map from a function's name to those that have it, so that the choice costs a call one look-up.
 * Functions that the same workers have share a pool: where all expose the same there is one.
 */
export class Workers<W extends Worker> {
  private readonly attached = new Pool<W>();
  /** Those that have told nothing of what they expose, as peers before protocol 1.1. */
  private readonly silent = new Pool<W>();
  private readonly exposing = new Map<string, Pool<W>>();
  /** Those in `exposing`, each once. */
  private readonly pools = new Set<Pool<W>>();
  private readonly removed = new WeakSet<W>();

  get count(): number {
    return this.attached.workers.length;
  }

  /** It may be asked from now on. */
  add(worker: W): void {
    if (this.removed.has(worker)) return;
    this.attached.workers.push(worker);
    if (!worker.names) this.silent.workers.push(worker);
  }

  /** It exposes these functions, beside those named before. */
  expose(worker: W, names: readonly string[]): void {
    if (this.removed.has(worker)) return;
    const widened = new Map<Pool<W> | undefined, Pool<W>>();
    for (const name of names) {
      const pool = this.exposing.get(name);
      if (pool?.workers.includes(worker) === true) continue;
      const wider = widened.get(pool) ?? new Pool<W>([...(pool?.workers ?? []), worker]);
      widened.set(pool, wider);
      this.exposing.set(name, wider);
      this.pools.add(wider);
      wider.names++;
      if (pool !== undefined && --pool.names === 0) this.pools.delete(pool);
    }
  }

  /** Choose this worker no more, for good. What is none of these is left alone. */
  remove(worker: W): void {
    this.removed.add(worker);
    for (const pool of [this.attached, this.silent, ...this.pools]) pool.remove(worker);
    // A name is kept when nobody has it any more, because to say so helps; but not without end.
    if (this.exposing.size > MAX_EXPOSED) this.forgetUnserved();
  }

  private forgetUnserved(): void {
    for (const [name, pool] of this.exposing) if (pool.workers.length === 0) this.exposing.delete(name);
    for (const pool of this.pools) if (pool.workers.length === 0) this.pools.delete(pool);
  }

  /** Is there one that has this function, or may have it? */
  mayServe(method: string): boolean {
    return (this.exposing.get(method)?.workers.length ?? 0) > 0 || this.silent.workers.length > 0;
  }

  /**
   * Whom to ask for `method`: of those that have it the one with the fewest outstanding calls, a busy one behind
   * {@link BUSY_CALLS} more; of several, in turn. Where nobody is known to have it, one that has told nothing. Undefined
   * where those that had it have gone, or nobody is attached. What nobody has ever had is asked of anybody: a function may
   * have been exposed a moment ago, and whoever has not got it says so.
   */
  next(method: string): W | undefined {
    const pool = this.exposing.get(method);
    if (pool !== undefined && pool.workers.length > 0) return pool.next();
    return this.silent.next() ?? (pool ?? this.attached).next();
  }

  /** The same, whatever is to be called. */
  nextOfAll(): W | undefined {
    return this.attached.next();
  }
}

/** Workers of which any will do. */
class Pool<W extends Worker> {
  /** How many functions have this pool. */
  names = 0;
  private last = 0;

  constructor(readonly workers: W[] = []) {}

  remove(worker: W): void {
    const index = this.workers.indexOf(worker);
    if (index >= 0) this.workers.splice(index, 1);
  }

  next(): W | undefined {
    const { workers } = this;
    const count = workers.length;
    if (count <= 1) return workers[0];
    this.last = this.last + 1 < count ? this.last + 1 : 0;
    let best: W | undefined;
    let fewest = Infinity;
    for (let step = 0; step < count && fewest > 0; step++) {
      const worker = workers[(this.last + step) % count] as W;
      const { outstanding } = worker;
      // Whether it is busy is looked at only where that matters: it is a call into the addon.
      if (outstanding >= fewest) continue;
      const calls = outstanding + (worker.isPeerBusy() ? BUSY_CALLS : 0);
      if (calls >= fewest) continue;
      best = worker;
      fewest = calls;
    }
    return best;
  }
}
