/** Calls under way whose answers come in the order of the calls. */

interface Waiter {
  resolve: (answer: unknown) => void;
  reject: (error: Error) => void;
}

export class InOrder {
  private waiting: Waiter[] = [];
  private failure: Error | undefined;

  /** What the next answer but those that are waited for already will be. */
  next(): Promise<unknown> {
    return new Promise((resolve, reject) => {
      if (this.failure === undefined) this.waiting.push({ resolve, reject });
      else reject(this.failure);
    });
  }

  answer(value: unknown): void {
    const waiter = this.waiting.shift();
    if (waiter === undefined) throw new Error("an answer has come to no call");
    waiter.resolve(value);
  }

  /** There will be no answer any more: neither to the calls under way nor to further ones. */
  fail(error: Error): void {
    this.failure ??= error;
    for (const { reject } of this.waiting) reject(this.failure);
    this.waiting = [];
  }
}
