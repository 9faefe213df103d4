/** What Node tells the program that started it: lines of JSON on stdout, see programs.py. journal.py is the same. */

import { setTimeout as sleep } from "node:timers/promises";

import { BridgeError, RemoteError } from "@shm-polyglot/protocol";

const TELL_MS = 20;
const HEARTBEAT_MS = 1000;
const PAUSE_MS = 5;

type Event = [lane: number, what: string, began: number, at: number, detail: string];

/** Seconds of CLOCK_MONOTONIC, as Python's time.monotonic. */
export function now(): number {
  return Number(process.hrtime.bigint()) / 1e9;
}

/** Counts what the lanes do, and tells of it. */
export class Journal {
  private readonly lanes: Lane[] = [];
  private events: Event[] = [];
  private wrong: string[] = [];
  private told = "";
  private attached: number | undefined;

  /** Another lane. */
  lane(): Lane {
    const lane = new Lane(this.lanes.length, {
      event: (event) => this.events.push(event),
      wrong: (text) => this.wrong.push(text),
    });
    this.lanes.push(lane);
    return lane;
  }

  /** How many workers there are now. */
  setAttached(count: number): void {
    this.attached = count;
  }

  /** Says that the program listens, and from now on what becomes of it. */
  ready(): void {
    this.print({ ready: now() });
    let last = performance.now();
    setInterval(() => {
      // Of each lane by itself: one that hangs must not hide behind the others.
      const verified = this.lanes.map((lane) => lane.verified);
      const isQuiet =
        String(verified) === this.told && this.attached === undefined && this.events.length + this.wrong.length === 0;
      if (isQuiet && performance.now() - last < HEARTBEAT_MS) return;
      last = performance.now();
      const longest = this.lanes.map((lane) => lane.longest);
      this.print({ verified, longest, events: this.events, wrong: this.wrong, attached: this.attached, at: now() });
      this.told = String(verified);
      this.events = [];
      this.wrong = [];
      this.attached = undefined;
    }, TELL_MS);
  }

  private print(news: object): void {
    // Without a reader there is EPIPE, and the process ends: whoever started this program is gone.
    process.stdout.write(`${JSON.stringify(news)}\n`);
  }
}

interface Notes {
  event: (event: Event) => void;
  wrong: (text: string) => void;
}

/** Asks one question at a time. */
export class Lane {
  /** Answers that were right. */
  verified = 0;
  /** How long it has waited for one of them, but for the first and the first after a failure, in seconds. */
  longest = 0;
  private question = Math.floor(Math.random() * 2 ** 50);
  private isBack = false;

  constructor(
    private readonly number: number,
    private readonly notes: Notes,
  ) {}

  /** Asks the next question, and pauses if it failed. A wrong answer is told, and is no failure. */
  async attempt(ask: (question: number) => Promise<boolean>): Promise<void> {
    const question = this.question++;
    const began = now();
    let isRight: boolean;
    try {
      isRight = await ask(question);
    } catch (error) {
      if (!(error instanceof BridgeError)) throw error;
      // From deeper in a chain comes a RemoteError of the other error's type.
      const what = error instanceof RemoteError ? error.type : error.code;
      this.notes.event([this.number, what, began, now(), error.message.slice(0, 200)]);
      this.isBack = false;
      await sleep(PAUSE_MS);
      return;
    }
    if (!isRight) {
      this.notes.wrong(`lane ${this.number}: question ${question} got an answer that is not its own`);
      return;
    }
    this.verified++;
    if (this.isBack) {
      this.longest = Math.max(this.longest, now() - began);
      return;
    }
    this.isBack = true;
    this.notes.event([this.number, "back", began, now(), ""]);
  }
}
