/**
 * Polls the channels that are within their spin budget, one turn for all of them in each turn of the event loop, and
 * never blocks it. A channel whose budget is used up is parked and costs nothing: its socket wakes it.
 */

import { setImmediate } from "./clock";
import { runOutside } from "./current_call";
import { turnBegins } from "./held_loop";

/** How long one turn waits for a message, in nanoseconds, shared by all channels that are polled. */
const POLL_NS = 2000;

/** Something to poll. */
export interface Pollable {
  /** Whether the poller polls it; the poller's to change. */
  isPolled: boolean;
  /** Wait at most `pollNs`, take what has come. False when parked or ended: poll it no more. */
  poll(pollNs: number): boolean;
}

export class Poller {
  private readonly polled: Pollable[] = [];
  private isRunning = false;

  /** Poll `channel` until it parks. */
  add(channel: Pollable): void {
    if (channel.isPolled) return;
    channel.isPolled = true;
    this.polled.push(channel);
    if (this.isRunning) return;
    this.isRunning = true;
    // Outside of whatever sends first: the turns to come serve everybody.
    runOutside(() => setImmediate(this.turn));
  }

  private readonly turn = (): void => {
    try {
      this.pollAll();
    } finally {
      // Even if something threw, such as a logger: the others must go on.
      if (this.polled.length > 0) setImmediate(this.turn);
      else this.isRunning = false;
    }
  };

  private pollAll(): void {
    turnBegins();
    const pollNs = Math.ceil(POLL_NS / this.polled.length);
    // What is added meanwhile is at the end and gets its turn too.
    for (let index = 0; index < this.polled.length; ) {
      const channel = this.polled[index] as Pollable;
      if (channel.poll(pollNs)) {
        index++;
        continue;
      }
      channel.isPolled = false;
      const last = this.polled.pop();
      if (last !== undefined && last !== channel) this.polled[index] = last;
    }
  }
}
