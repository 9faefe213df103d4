/** What may keep the process running: as long as somebody waits, and no longer. */

/** Something of Node's that keeps the process running, or does not. */
export interface Keeper {
  ref(): void;
  unref(): void;
}

/** Counts who waits, and has the keeper keep the process running while somebody does. */
export class Waiting {
  private count = 0;

  constructor(private readonly keeper: Keeper) {
    keeper.unref();
  }

  /** Somebody waits, until the function that this gives is called. */
  begin(): () => void {
    if (this.count++ === 0) this.keeper.ref();
    let isOver = false;
    return () => {
      if (isOver) return;
      isOver = true;
      if (--this.count === 0) this.keeper.unref();
    };
  }
}
