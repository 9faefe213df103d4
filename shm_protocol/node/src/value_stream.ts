/** The items of a stream at its caller. */

import { ProtocolError } from "./errors";
import type { Pending } from "./session";
import type { Value } from "./values";

/** The items of a stream as they come. Leaving a `for await` early, or `return()`, tells the peer to stop. */
export class ValueStream implements AsyncIterableIterator<Value>, Pending {
  private readonly queue: Value[] = [];
  private waiting: { resolve: (step: IteratorResult<Value, undefined>) => void; reject: (error: Error) => void }[] = [];
  /** Items granted that have not come. */
  private granted: number;
  /** Items taken since the last grant. */
  private taken = 0;
  private isDone = false;
  readonly began = null;
  private error: Error | undefined;
  detach: (() => void) | undefined;

  constructor(
    readonly method: string,
    readonly deadline: number,
    private readonly credit: number,
    private readonly grant: (items: number) => void,
    private readonly abandon: () => void,
  ) {
    this.granted = credit;
  }

  readonly takeItem = (value: Value): void => {
    if (this.granted === 0) throw new ProtocolError(`an item for the stream ${this.method}, which has no credit left`);
    this.granted--;
    const next = this.waiting.shift();
    if (next === undefined) {
      this.queue.push(value);
    } else {
      this.countTaken();
      next.resolve({ value, done: false });
    }
  };

  succeed(result: Value): void {
    if (result === null) this.finish(undefined);
    else this.finish(new TypeError(`${this.method} gave a value, not a stream: use call()`));
  }

  fail(error: Error): void {
    this.finish(error);
  }

  private finish(error: Error | undefined): void {
    if (this.isDone) return;
    this.isDone = true;
    const [first, ...others] = this.waiting;
    this.waiting = [];
    if (error === undefined) first?.resolve({ value: undefined, done: true });
    else if (first === undefined) this.error = error;
    else first.reject(error);
    for (const other of others) other.resolve({ value: undefined, done: true });
  }

  private countTaken(): void {
    this.taken++;
    // In halves: granting each item would double the messages, granting all at the end would stall the sender.
    if (this.taken * 2 >= this.credit && !this.isDone) {
      this.granted += this.taken;
      this.grant(this.taken);
      this.taken = 0;
    }
  }

  next(): Promise<IteratorResult<Value, undefined>> {
    if (this.queue.length > 0) {
      const value = this.queue.shift() as Value;
      this.countTaken();
      return Promise.resolve({ value, done: false });
    }
    if (this.error !== undefined) {
      const error = this.error;
      this.error = undefined;
      return Promise.reject(error);
    }
    if (this.isDone) return Promise.resolve({ value: undefined, done: true });
    return new Promise((resolve, reject) => this.waiting.push({ resolve, reject }));
  }

  return(): Promise<IteratorResult<Value, undefined>> {
    if (!this.isDone) this.abandon();
    this.finish(undefined);
    this.error = undefined;
    this.queue.length = 0;
    return Promise.resolve({ value: undefined, done: true });
  }

  [Symbol.asyncIterator](): this {
    return this;
  }
}
