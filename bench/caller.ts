/** The process that calls: `node caller.ts MODULE ADDRESS`, with its orders as caller.py has them. */

import { once } from "node:events";
import fs from "node:fs";
import net from "node:net";
import readline from "node:readline";

import type { Case } from "./cases";
import { clockUs, measure } from "./driver";
import { peerModule } from "./peer_module";
import type { Caller, Measured, MeasuringCaller } from "./peers/interface";

/** One line of the orders; trial.py gives them. */
interface Order {
  case: Case;
  calls: number;
  seconds: number;
  warmup_calls: number;
  warmup_seconds: number;
  times: string;
}

/** The other end of the file descriptor $BENCH_CONTROL_FD. */
class Orders {
  private readonly socket = new net.Socket({ fd: Number(process.env["BENCH_CONTROL_FD"]) });
  private readonly lines = readline.createInterface({ input: this.socket })[Symbol.asyncIterator]();

  /** The next line; undefined when the orders have ended. */
  async next(): Promise<string | undefined> {
    const line = await this.lines.next();
    return line.done === true ? undefined : line.value;
  }

  say(line: string): void {
    this.socket.write(`${line}\n`);
  }

  /** Say the word, and wait for the line that says to go on. */
  async pause(word: string): Promise<void> {
    this.say(word);
    await this.next();
  }

  async close(): Promise<void> {
    this.socket.destroy();
    if (!this.socket.closed) await once(this.socket, "close");
  }
}

function measures(caller: Caller): caller is MeasuringCaller {
  return "measure" in caller;
}

async function obey(caller: Caller, order: Order, orders: Orders): Promise<Measured> {
  const run = (calls: number, seconds: number): Promise<Measured> | Measured =>
    measures(caller) ? caller.measure(order.case, calls, seconds) : measure(caller, order.case, calls, seconds);
  if (order.warmup_calls > 0) {
    const warmup = await run(order.warmup_calls, order.warmup_seconds);
    if (warmup.errors > 0) throw new Error(warmup.first_error);
  }
  await orders.pause("warm");
  return run(order.calls, order.seconds);
}

async function main(): Promise<void> {
  const [name, address] = process.argv.slice(2);
  if (name === undefined || address === undefined) throw new Error("usage: caller.ts MODULE ADDRESS");
  const module = peerModule(name);
  if (module.start === undefined) throw new Error(`peers/${name}.ts has no start`);
  const caller = await module.start(address);
  const orders = new Orders();
  orders.say(JSON.stringify({ note: "" }));
  for (let line = await orders.next(); line !== undefined; line = await orders.next()) {
    const order = JSON.parse(line) as Order | { clock: true };
    if ("clock" in order) {
      orders.say(JSON.stringify({ clock_us: measures(caller) ? caller.clockUs() : clockUs() }));
      continue;
    }
    try {
      const { times_ns, elapsed_ns, checking_ns = 0, checking_cpu_ns = 0, errors, first_error } = await obey(caller, order, orders);
      await orders.pause("done");
      fs.writeFileSync(order.times, new Uint8Array(Float64Array.from(times_ns).buffer));
      orders.say(JSON.stringify({ elapsed_ns, checking_ns, checking_cpu_ns, errors, first_error }));
    } catch (error) {
      orders.say(JSON.stringify({ failed: error instanceof Error ? error.message : String(error) }));
    }
  }
  await orders.close();
  await caller.stop();
}

void main();
