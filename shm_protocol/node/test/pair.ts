/** Two sessions joined in memory: what one sends the other receives, in order, when the test says so. */

import { ProtocolError } from "../src/errors";
import type { Exposables } from "../src/exposables";
import { Exposed } from "../src/exposed";
import { PROTOCOL_MINOR } from "../src/handshake";
import { turnBegins } from "../src/held_loop";
import type { LogFields, Logger } from "../src/log";
import { Serving } from "../src/serving";
import { type Output, Session } from "../src/session";

/** Keeps what is logged. */
export class MemoryLog implements Logger {
  readonly lines: { level: string; message: string; fields: LogFields }[] = [];
  info(message: string, fields: LogFields = {}): void {
    this.lines.push({ level: "info", message, fields });
  }
  warn(message: string, fields: LogFields = {}): void {
    this.lines.push({ level: "warn", message, fields });
  }
  error(message: string, fields: LogFields = {}): void {
    this.lines.push({ level: "error", message, fields });
  }
}

export class End implements Output {
  readonly sent: Buffer[] = [];
  readonly log = new MemoryLog();
  readonly session: Session;
  readonly serving: Serving;
  /** Why the session could not go on. */
  gaveUp: Error | undefined;
  congested = false;
  wakesAt = Infinity;
  /** The calls it made that have ended: milliseconds, and whether they failed. */
  readonly ended: [number, boolean][] = [];
  /** How often the peer has said that it leaves. */
  left = 0;
  /** What the peer has named of what it exposes. */
  readonly named: string[] = [];
  /** What the protocol made of the peer's last message. */
  error: ProtocolError | undefined;

  constructor(clock: { now: number }, peer: string, expose: Exposables, maxMessage = 1_000_000, peerMinor = PROTOCOL_MINOR) {
    const exposed = new Exposed();
    exposed.add(expose);
    this.serving = new Serving({ exposed, log: this.log, peer });
    this.session = new Session({
      output: this,
      calls: this.serving,
      peer,
      peerMinor,
      maxMessage,
      now: () => clock.now,
      onLeave: () => { this.left++; },
      onExpose: (names) => { this.named.push(...names); },
    });
  }

  send(buffer: Buffer, length: number): void {
    this.sent.push(Buffer.from(buffer.subarray(0, length)));
  }

  countCall(ms: number, failed: boolean): void {
    this.ended.push([ms, failed]);
  }

  giveUp(reason: Error): void {
    this.gaveUp = reason;
  }

  wakeAt(time: number): void {
    this.wakesAt = time;
  }

  receive(message: Uint8Array): void {
    const copy = Buffer.alloc(message.length);
    copy.set(message);
    turnBegins();
    try {
      this.session.receive(copy, 0, copy.length);
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      this.error = error;
    }
  }
}

export class Pair {
  readonly clock = { now: 1000 };
  readonly near: End;
  readonly far: End;

  constructor(nearExposes: Exposables, farExposes: Exposables, maxMessage?: number) {
    this.near = new End(this.clock, "far", nearExposes, maxMessage);
    this.far = new End(this.clock, "near", farExposes, maxMessage);
  }

  /** Deliver what is under way, and what that leads to, until both are quiet. */
  async run(): Promise<void> {
    for (let quiet = 0; quiet < 3; ) {
      const before = this.near.sent.length + this.far.sent.length;
      for (const message of this.near.sent.splice(0)) this.far.receive(message);
      for (const message of this.far.sent.splice(0)) this.near.receive(message);
      await new Promise((resolve) => setImmediate(resolve));
      quiet = before === 0 ? quiet + 1 : 0;
    }
  }

  /** Let time pass, and tell both what their output would. */
  pass(milliseconds: number): void {
    this.clock.now += milliseconds;
    for (const end of [this.near, this.far]) {
      if (end.wakesAt > this.clock.now) continue;
      end.wakesAt = Infinity;
      end.session.expire();
    }
  }
}
