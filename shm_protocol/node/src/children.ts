/** Python children: processes of this program's own, which run what no worker does, and end with it. */

import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, lstatSync, mkdtempSync, openSync, readdirSync, rmdirSync, rmSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";

import { Bridge, type CallOptions, type StreamOptions } from "./bridge";
import { CHAIN, chainFor } from "./child_chain";
import { clearTimeout, setTimeout } from "./clock";
import { MAX_SOCKET_PATH_BYTES, SOCKET_NAME } from "./config";
import type { ConnectionInfo } from "./connection_info";
import { runOutside } from "./current_call";
import { isBridgeError, PeerGone, PeerUnavailable } from "./errors";
import { LastLines } from "./last_lines";
import { statusOf } from "./listener";
import { type Logger, stderrLogger } from "./log";
import { notStartable, pythonMissing } from "./python_command";
import type { ValueStream } from "./streams";
import { ofStart } from "./transports/shortages";
import type { Value } from "./value_types";

const LOAD = "shm_polyglot.load";
const PREFIX = "shm-polyglot-child-";
/** More than a child takes of this process while it starts. */
const DESCRIPTORS = 16;
/** So long it takes no child to make its socket. */
const ABANDONED_MS = 600_000;
/** A child that is to end, and does not, ends itself after a second. */
const END_MS = 3000;

/** Nobody asked for the bridge: what is as it should be is not told. */
const quiet: Logger = { ...stderrLogger, info: () => undefined };

const children = new Map<string, PythonChild>();

/** The child of this interpreter: the one that runs, or a new one, which is started for `file`. @throws PeerUnavailable */
export function childOf(python: string, file: string): PythonChild {
  let child = children.get(python);
  if (child === undefined) {
    child = new PythonChild(python, file);
    children.set(python, child);
  }
  return child;
}

/** A Python process that loads files and serves what they have. */
export class PythonChild {
  private readonly directory: string;
  private readonly lines = new LastLines();
  private readonly loaded = new Map<string, Promise<string>>();
  private readonly attached: Promise<Bridge>;
  /** That of its main thread, which loads. */
  private main: ConnectionInfo | undefined;
  private readonly ended: Promise<string>;
  private process: ChildProcess | undefined;
  private isEnding = false;
  private isWaitedFor = false;

  constructor(private readonly python: string, file: string) {
    const chain = chainFor(file);
    checkDescriptors(python);
    this.directory = makeDirectory(python);
    removeAbandoned(dirname(this.directory), lstatSync(this.directory).mtimeMs);
    process.on("exit", this.onExit);
    process.on("beforeExit", this.onBeforeExit);
    let end: (how: string) => void = () => undefined;
    this.ended = new Promise((resolve) => { end = resolve; });
    this.attached = runOutside(() => this.start(chain, (how) => {
      this.forget();
      end(how);
    }));
    // Whoever calls is told.
    this.attached.catch(() => undefined);
  }

  /** Load a file, once. Gives the key that its names begin with. @throws RemoteError for what the file raises. */
  load(file: string): Promise<string> {
    const known = this.loaded.get(file);
    if (known !== undefined) return known;
    const loading = runOutside(() => this.loadThere(file));
    this.loaded.set(file, loading);
    // Once more, when the file has been mended.
    loading.catch(() => this.loaded.delete(file));
    return loading;
  }

  private async loadThere(file: string): Promise<string> {
    await this.attached;
    const how = { timeoutMs: Infinity, ...(this.main === undefined ? {} : { connection: this.main }) };
    return this.call<string>(LOAD, [file], how);
  }

  /** As {@link Bridge.call}. */
  async call<T = Value>(method: string, args: readonly unknown[], options: CallOptions): Promise<T> {
    const bridge = await this.attached;
    try {
      return await bridge.call<T>(method, args, options);
    } catch (error) {
      throw await this.explained(method, error);
    }
  }

  /** As {@link Bridge.stream}, but that it begins with the first item that is asked for. */
  async *stream(method: string, args: readonly unknown[], options: StreamOptions): AsyncGenerator<Value, void, undefined> {
    const bridge = await this.attached;
    try {
      const items: ValueStream = bridge.stream(method, args, options);
      yield* items;
    } catch (error) {
      throw await this.explained(method, error);
    }
  }

  /** Whether it has ended, or is about to. */
  get isOver(): boolean {
    return this.isEnding;
  }

  private async start(chain: string, onEnd: (how: string) => void): Promise<Bridge> {
    const path = join(this.directory, SOCKET_NAME);
    const bridge = await this.listen(path, onEnd);
    const child = spawn(this.python, ["-P", "-m", "shm_protocol.child", path], {
      stdio: ["ignore", "inherit", "pipe", "pipe"],
      env: { ...process.env, [CHAIN]: chain },
    });
    this.process = child;
    bridge.on("disconnect", ({ role }) => { if (role === "worker") this.replace(); });
    const attached = new Promise<void>((resolve) => {
      bridge.once("connect", (connection) => {
        this.main = connection;
        resolve();
      });
    });
    const failed = new Promise<never>((_, reject) => {
      child.once("error", (error) => {
        onEnd(error.message);
        reject(new PeerUnavailable(notStartable(this.python, error)));
      });
      child.once("close", (code, signal) => {
        const how = signal === null ? `exit code ${code ?? "unknown"}` : `ended by ${signal}`;
        void bridge.close();
        onEnd(how);
        reject(new PeerUnavailable(this.notStarted(how)));
      });
    });
    failed.catch(() => undefined);
    child.stderr?.on("data", (bytes: Buffer) => {
      this.lines.add(bytes);
      process.stderr.write(bytes);
    });
    const pipes = [child.stderr as Socket | null | undefined, pipeOf(child)];
    for (const pipe of pipes) {
      pipe?.on("error", () => undefined);
      pipe?.unref();
    }
    try {
      await Promise.race([attached, failed]);
    } catch (error) {
      await bridge.close();
      throw error;
    } finally {
      // From now on it is a call that keeps this process running.
      child.unref();
    }
    return bridge;
  }

  private async listen(path: string, onEnd: (how: string) => void): Promise<Bridge> {
    try {
      return await Bridge.listen({ path, log: quiet }, { isOfChild: true });
    } catch (error) {
      onEnd("never started");
      throw shortage(this.python, error) ?? error;
    }
  }

  private notStarted(how: string): string {
    const said = this.lines.text();
    if (said.includes("No module named shm_protocol") || said.includes("No module named 'shm_protocol'")) {
      return `the Python ${this.python} has no shm_protocol: install it there (pip install shm-polyglot), or set SHM_POLYGLOT_PYTHON to one that has it`;
    }
    if (said.includes("Unknown option: -P")) return pythonMissing(this.python, "it is older than 3.11");
    return `the Python child ${this.python} did not start (${how})${said === "" ? "" : `:\n${said}`}`;
  }

  /** With what the child has said last, where it has ended. */
  async explained(method: string, error: unknown): Promise<unknown> {
    if (!isBridgeError(error, PeerGone)) return error;
    const how = await within(END_MS, this.ended);
    const said = this.lines.text();
    const last = said === "" ? "" : `; its last lines were:\n${said}`;
    const ended = new PeerGone(`${method}: the Python child has ended (${how ?? "the connection broke"})${last}`, { cause: error });
    if (error.stack !== undefined) ended.stack = `${ended.name}: ${ended.message}\n${error.stack.split("\n").slice(1).join("\n")}`;
    return ended;
  }

  /** A connection of its has ended, and so does it, in its own time; the next call is another's. */
  private replace(): void {
    this.retire();
    // Its process may live on, where a function has closed its descriptors.
    const timer = setTimeout(() => { this.closePipe(); }, END_MS);
    timer.unref();
    void this.ended.then(() => { clearTimeout(timer); });
  }

  private retire(): void {
    this.isEnding = true;
    if (children.get(this.python) === this) children.delete(this.python);
  }

  /** Without which it ends. */
  private closePipe(): void {
    pipeOf(this.process)?.destroy();
  }

  /** Have it end, and wait for that: what it has registered for its end runs. */
  private readonly onBeforeExit = (): void => {
    if (this.isWaitedFor) return;
    this.isWaitedFor = true;
    this.retire();
    this.process?.ref();
    this.closePipe();
    void this.attached.then((bridge) => bridge.close(), () => undefined);
  };

  private readonly onExit = (): void => {
    rmSync(this.directory, { recursive: true, force: true });
  };

  private forget(): void {
    this.retire();
    process.off("exit", this.onExit);
    process.off("beforeExit", this.onBeforeExit);
    this.onExit();
  }
}

/** What a promise gives, or undefined where that takes too long. */
async function within<T>(ms: number, promise: Promise<T>): Promise<T | undefined> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<undefined>((resolve) => { timer = setTimeout(() => { resolve(undefined); }, ms); });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** That by which it is told that this process has ended. Without descriptors Node gives a child that has none. */
function pipeOf(child: ChildProcess | undefined): Socket | null | undefined {
  const stdio = child?.stdio;
  return stdio?.[3] as Socket | null | undefined;
}

function shortage(python: string, error: unknown): PeerUnavailable | undefined {
  return ofStart(error) === undefined ? undefined : new PeerUnavailable(notStartable(python, error as Error), { cause: error });
}

/** Before anything is begun: what fails for want of them halfway, such as `spawn`, keeps those that it had. */
function checkDescriptors(python: string): void {
  const opened: number[] = [];
  try {
    while (opened.length < DESCRIPTORS) opened.push(openSync("/dev/null", "r"));
  } catch (error) {
    const lacking = shortage(python, error);
    if (lacking !== undefined) throw lacking;
  } finally {
    for (const descriptor of opened) closeSync(descriptor);
  }
}

/** A directory for a child's socket, where one can be made. */
function makeDirectory(python: string): string {
  const folders = [...new Set([shortTemporaryFolder(), "/tmp", "/var/tmp"])];
  const refusals: string[] = [];
  for (const folder of folders) {
    try {
      return mkdtempSync(join(folder, PREFIX));
    } catch (error) {
      refusals.push((error as Error).message);
    }
  }
  throw new PeerUnavailable(`no folder can be made for the socket of the Python ${python}: ${refusals.join("; ")}: set TMPDIR to a folder that can be written to`);
}

function shortTemporaryFolder(): string {
  const folder = tmpdir();
  const longest = join(folder, `${PREFIX}XXXXXX`, `${SOCKET_NAME}.0123456789abcdef`);
  return Buffer.byteLength(longest) > MAX_SOCKET_PATH_BYTES ? "/tmp" : folder;
}

/** Remove what programs that were killed have left: directories whose socket nobody listens on, and old ones without any. */
function removeAbandoned(folder: string, now: number): void {
  for (const name of namesIn(folder)) {
    if (!name.startsWith(PREFIX)) continue;
    const directory = join(folder, name);
    const path = join(directory, SOCKET_NAME);
    try {
      const { uid, mtimeMs } = lstatSync(directory);
      if (uid !== process.geteuid?.()) continue;
      const status = statusOf(path);
      // Only an empty one goes so.
      if (status === undefined && now - mtimeMs > ABANDONED_MS) rmdirSync(directory);
      if (status?.isSocket() !== true) continue;
    } catch {
      continue; // One that is just being made, or removed.
    }
    const socket = connect(path);
    socket.unref();
    socket.once("connect", () => { socket.destroy(); });
    socket.once("error", (error: NodeJS.ErrnoException) => {
      if (error.code === "ECONNREFUSED") rmSync(directory, { recursive: true, force: true });
    });
  }
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return []; // A folder that may be written to, but not read; or there are no descriptors left.
  }
}
