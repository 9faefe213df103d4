/**
 * Loads one service at a time over HTTP/1.1 with kept connections, as load.py tells it: a job a line on standard input,
 * its outcome a line on standard output. At the end of its input it ends.
 *
 * With a rate, requests are due at fixed times, whether or not earlier ones are answered. The time of each counts from
 * when it was due: what it waited here for a free connection, or for this process to send it, is in it.
 */

import { once } from "node:events";
import path from "node:path";
import { createInterface } from "node:readline";
import { Worker } from "node:worker_threads";

// By its folder: the packages of the peers are not those of the workspace.
import { Pool, type Dispatcher } from "undici";
import { now, type Schedule } from "./pacer";

const MS_PER_S = 1e3;
const NS_PER_MS = 1e6;
/** From the beginning of a load to when its first request is due, so that it is known in time. */
const LEAD_MS = 5;
/** A load whose requests go on failing ends here: nobody is there. */
const MOST_FAILURES = 100;
/** All that differs between two right answers of most endpoints; the rest is compared, by load.py. */
const TIMESTAMP = /"timestamp": ?"[^"]*"/;

/** What load.py asks for. */
interface Job {
  url: string;
  method: Dispatcher.HttpMethod;
  path: string;
  /** Empty: none. */
  body: string;
  connections: number;
  /** Requests due in a second; null: a connection sends the next when it has its answer. */
  rate_per_s: number | null;
  seconds: number;
  /** No more requests than this. */
  most: number;
  /** How long after the last is sent or due answers are waited for. */
  patience_s: number;
}

interface Outcome {
  times_ns: number[];
  elapsed_ns: number;
  answers: { status: number; body: string; count: number }[];
  /** Requests that got no answer, by the reason. */
  failures: Record<string, number>;
  unanswered: number;
}

/** A load under way. */
class Load {
  private readonly pool: Pool;
  private readonly headers: Record<string, string>;
  private readonly times: number[] = [];
  private readonly answers = new Map<string, { status: number; body: string; count: number }>();
  private readonly failures = new Map<string, number>();
  private begun = 0;
  private failed = 0;
  private allDone: () => void = () => undefined;

  constructor(
    private readonly job: Job,
    private readonly pacer: Worker,
  ) {
    this.pool = new Pool(job.url, { connections: job.connections, pipelining: 1, headersTimeout: 0, bodyTimeout: 0 });
    this.headers = job.body === "" ? {} : { "Content-Type": "application/json" };
  }

  async run(): Promise<Outcome> {
    const { rate_per_s } = this.job;
    const start = rate_per_s === null ? now() : now() + LEAD_MS;
    await (rate_per_s === null ? this.inTurn(start) : this.whenDue(start, rate_per_s));
    const outcome = {
      times_ns: this.times,
      elapsed_ns: (now() - start) * NS_PER_MS,
      answers: [...this.answers.values()],
      failures: Object.fromEntries(this.failures),
      unanswered: this.outstanding,
    };
    await this.pool.destroy();
    return outcome;
  }

  private get outstanding(): number {
    return this.begun - this.times.length - this.failed;
  }

  /** Each connection sends the next request when it has its answer. */
  private async inTurn(start: number): Promise<void> {
    const end = start + this.job.seconds * MS_PER_S;
    const next = (): void => {
      const time = now();
      if (time < end && this.begun < this.job.most && this.failed < MOST_FAILURES) this.send(time, next);
      else if (this.outstanding === 0) this.allDone();
    };
    await this.untilDone(this.job.seconds, () => {
      for (let connection = 0; connection < this.job.connections; connection++) next();
    });
  }

  /** A request when it is due, at fixed times. */
  private async whenDue(start: number, ratePerS: number): Promise<void> {
    const count = Math.min(Math.max(1, Math.round(this.job.seconds * ratePerS)), this.job.most);
    const step = MS_PER_S / ratePerS;
    const answered = (): void => {
      if (this.outstanding === 0 && (this.begun === count || this.failed >= MOST_FAILURES)) this.allDone();
    };
    const sendDue = (): void => {
      const time = now();
      while (this.begun < count && start + this.begun * step <= time && this.failed < MOST_FAILURES)
        this.send(start + this.begun * step, answered);
    };
    const ended = new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT));
    this.pacer.on("message", sendDue);
    await this.untilDone(this.job.seconds, () => {
      this.pacer.postMessage({ start, step, count, ended } satisfies Schedule);
    });
    this.pacer.off("message", sendDue);
    Atomics.store(ended, 0, 1);
    Atomics.notify(ended, 0);
  }

  private async untilDone(seconds: number, begin: () => void): Promise<void> {
    await new Promise<void>((resolve) => {
      const overdue = setTimeout(resolve, (seconds + this.job.patience_s) * MS_PER_S);
      this.allDone = () => {
        clearTimeout(overdue);
        resolve();
      };
      begin();
    });
    this.allDone = () => undefined;
  }

  private send(began: number, ended: () => void): void {
    this.begun++;
    const chunks: Buffer[] = [];
    let status = 0;
    const { method, path, body } = this.job;
    this.pool.dispatch(
      { method, path, headers: this.headers, body: body === "" ? null : body },
      {
        onRequestStart: () => undefined,
        onResponseStart: (_controller, statusCode) => {
          status = statusCode;
        },
        onResponseData: (_controller, chunk) => {
          chunks.push(chunk);
        },
        onResponseEnd: () => {
          this.times.push((now() - began) * NS_PER_MS);
          this.count(status, Buffer.concat(chunks).toString());
          ended();
        },
        onResponseError: (_controller, error) => {
          this.failed++;
          this.failures.set(error.message, (this.failures.get(error.message) ?? 0) + 1);
          ended();
        },
      },
    );
  }

  private count(status: number, text: string): void {
    const body = text.replace(TIMESTAMP, '"timestamp":""');
    const key = `${status} ${body}`;
    const known = this.answers.get(key);
    if (known === undefined) this.answers.set(key, { status, body, count: 1 });
    else known.count++;
  }
}

async function main(): Promise<void> {
  const pacer = new Worker(path.join(__dirname, "pacer.ts"));
  await once(pacer, "message");
  // It is not to keep this process alive.
  pacer.unref();
  for await (const line of createInterface({ input: process.stdin })) {
    const outcome = await new Load(JSON.parse(line) as Job, pacer).run();
    process.stdout.write(`${JSON.stringify(outcome)}\n`);
  }
}

void main();
