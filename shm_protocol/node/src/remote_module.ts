/** Which process runs a Python file, and the way there. */

import { join, relative, sep } from "node:path";

import { type Bridge, type CallOptions, openBridges, type StreamOptions } from "./bridge";
import { childOf, type PythonChild } from "./children";
import { startsChildren, watches } from "./config";
import type { ConnectionInfo } from "./connection_info";
import { runOutside } from "./current_call";
import { isBridgeError, PeerUnavailable, UnknownMethod } from "./errors";
import { projectFolder } from "./project";
import { pythonFor } from "./python_command";
import { callMethod, streamMethod } from "./references";
import { realPathOf } from "./sources";

const SOURCES = "shm_polyglot.sources";
const SOURCES_MS = 5000;

/** What can be asked for what a module has. */
interface Runner {
  call(method: string, args: readonly unknown[], options: CallOptions): Promise<unknown>;
  stream(method: string, args: readonly unknown[], options: StreamOptions): AsyncIterable<unknown>;
  /** What to tell of an error of a call to it. */
  explained?(method: string, error: unknown): Promise<unknown>;
}

interface Way {
  runner: Runner;
  /** What the names of the module begin with. */
  key: string;
  isOver: () => boolean;
}

interface Source {
  key: string;
  file: string;
  project: string | null;
}

/** Workers of which nothing is to be learned, because their library is older. */
const silent = new WeakSet<ConnectionInfo>();

/** What a worker does. */
class NotExposed extends Error {}

/** A Python file, wherever it runs: in a worker that exposes it, else in a child of this process. */
export class RemoteModule {
  private readonly file: string;
  private way: Way | undefined;

  /** `isInChild`: it runs in a child whoever else may expose it. */
  constructor(file: string, private readonly isInChild = false) {
    this.file = realPathOf(file);
  }

  /** Call what the module has under `name`. @throws as Bridge.call does, and what the file raises where it is loaded. */
  async call(name: string, args: readonly unknown[], options: CallOptions): Promise<unknown> {
    const { runner, key } = this.known() ?? (await this.find(options.timeoutMs));
    return runner.call(`${key}.${name}`, args, options);
  }

  /** The same for what gives its answer in items. The call is made when the first is asked for. */
  async *stream(name: string, args: readonly unknown[], options: StreamOptions): AsyncGenerator<unknown, void, undefined> {
    const { runner, key } = this.known() ?? (await this.find(options.timeoutMs));
    yield* runner.stream(`${key}.${name}`, args, options);
  }

  /** Call a method of an object that this module has given. @throws as Bridge.call does, and Released. */
  async callOf(handle: object, name: string, args: readonly unknown[], options: CallOptions): Promise<unknown> {
    try {
      return await callMethod(handle, name, args, options);
    } catch (error) {
      throw (await this.way?.runner.explained?.(name, error)) ?? error;
    }
  }

  /** The same for what gives its answer in items. */
  streamOf(handle: object, name: string, args: readonly unknown[], options: StreamOptions): AsyncIterable<unknown> {
    return streamMethod(handle, name, args, options);
  }

  /** Have it loaded now, and not with the first call. */
  async load(): Promise<void> {
    if (this.known() === undefined) await this.find();
  }

  private known(): Way | undefined {
    if (this.way?.isOver() === true) this.way = undefined;
    return this.way;
  }

  private async find(timeoutMs = SOURCES_MS): Promise<Way> {
    const found = this.isInChild ? {} : await runOutside(() => this.inWorker(Math.min(timeoutMs, SOURCES_MS)));
    const way = found.way ?? (await this.inChild(found.silent));
    // Another may have been quicker: all go the same way.
    return (this.way ??= way);
  }

  /** The way to a worker that exposes it; else why one has not told, where there is such a one. */
  private async inWorker(timeoutMs: number): Promise<{ way?: Way; silent?: Error | undefined }> {
    const asked = openBridges().flatMap((bridge) =>
      bridge.connections.filter(({ role }) => role === "worker").map(async (connection): Promise<Way> => {
        const key = (await sourcesOf(bridge, connection, timeoutMs)).find((source) => this.is(source, connection))?.key;
        if (key === undefined) throw new NotExposed();
        return { runner: bridge, key, isOver: () => !openBridges().includes(bridge) };
      }));
    try {
      return { way: await Promise.any(asked) };
    } catch (error) {
      const [why] = (error as AggregateError).errors.filter((one): one is Error => one instanceof Error && !(one instanceof NotExposed));
      return { silent: why };
    }
  }

  private async inChild(silent: Error | undefined): Promise<Way> {
    // A child would refuse it, and be one that has ended.
    watches();
    if (!startsChildren()) {
      // It may be the one that runs it.
      if (silent !== undefined) throw silent;
      const why = this.isInChild ? "it is loaded" : `no worker exposes it (${whereWorkersAre()})`;
      throw new PeerUnavailable(`${this.file}: ${why}, and SHM_POLYGLOT_CHILD=0 forbids a Python child of this process`);
    }
    const child: PythonChild = childOf(pythonFor(this.file), this.file);
    const key = await child.load(this.file);
    return { runner: child, key, isOver: () => child.isOver };
  }

  private is(source: Source, connection: ConnectionInfo): boolean {
    if (source.file === this.file) return true;
    // In containers the same file may have another path.
    return source.project !== null && source.project === inProject(this.file) && !areTwo(projectFolder(), connection.project);
  }
}

function whereWorkersAre(): string {
  const paths = openBridges().map(({ path }) => path);
  return paths.length === 0 ? "this process does not listen for one" : `none that does is attached to ${paths.join(", ")}`;
}

async function sourcesOf(bridge: Bridge, connection: ConnectionInfo, timeoutMs: number): Promise<Source[]> {
  if (silent.has(connection)) return [];
  try {
    return await bridge.call<Source[] & []>(SOURCES, [], { connection, timeoutMs });
  } catch (error) {
    if (!isBridgeError(error, UnknownMethod)) throw error;
    silent.add(connection);
    return [];
  }
}

/** The file from the project's folder; undefined where it does not lie in there. */
function inProject(file: string): string | undefined {
  const folder = projectFolder();
  if (folder === undefined) return undefined;
  const path = relative(folder, file);
  return path.startsWith(`..${sep}`) ? undefined : path;
}

/** Whether two folders are of different projects, as far as it shows: neither holds the other. */
function areTwo(own: string | undefined, theirs: string | undefined): boolean {
  if (own === undefined || theirs === undefined) return false;
  const [ours, others] = [join(own, sep), join(theirs, sep)];
  return !(ours.startsWith(others) || others.startsWith(ours));
}
