/**
 * The acceptor's socket: at most one process listens at a path, and it notices when the path is no longer its own
 * (PROTOCOL.md section 1).
 *
 * Who wants to listen binds a *claim* first, a socket with a name of its own beside the path, and renames it to the path
 * once it has seen no other. A claim is never bound twice, so one that refuses connections belongs to nobody any more and
 * can be removed without a race; a path could have been taken between the look and the removal. The kernel tells who
 * lives, also from container to container, and nothing is needed but the file system that holds the socket.
 */

import { randomBytes } from "node:crypto";
import { type BigIntStats, chmodSync, closeSync, constants, existsSync, lstatSync, mkdirSync, openSync, readdirSync, renameSync, statSync, unlinkSync } from "node:fs";
import { connect, createServer, type Server, type Socket } from "node:net";
import { basename, dirname, join, resolve } from "node:path";

import { delay, now } from "./clock";
import { checkSocketPath, MAX_SOCKET_PATH_BYTES, ownUid } from "./config";
import type { Logger } from "./log";

/** How often the path is looked at: a socket that was removed or replaced is noticed within twice this time. */
const WATCH_MS = 1000;
/** How long a claim waits for those that will give way to it: they take a few milliseconds. */
const GIVE_WAY_MS = 5000;
const GIVE_WAY_POLL_MS = 5;
/** A claim that was taken for a dead one before it listened is made again. */
const MAX_CLAIMS = 5;

/** What a socket file is, whatever its name. Its inode is not used again while somebody listens on it. */
type Identity = string;

interface Listening {
  server: Server;
  identity: Identity;
}

/** What becomes of what happens on the socket once it is at the path. */
interface Handler {
  onConnection: (socket: Socket) => void;
  onError: (error: Error) => void;
  /** Who it is that listens at a path already. Never rejects. */
  nameListener: (path: string) => Promise<string>;
}

/** A socket that listens. */
export class Listener {
  private readonly closing: Promise<void>[] = [];
  private readonly watch: NodeJS.Timeout;
  private isClosed = false;
  private healing: Promise<void> | undefined;
  /** What was last said about the path, so that it is said once. */
  private told = "";

  private constructor(
    private readonly path: string,
    private readonly log: Logger,
    private readonly handler: Handler,
    private listening: Listening,
  ) {
    this.watch = setInterval(() => { this.look(); }, WATCH_MS).unref();
  }

  /**
   * Listen.
   *
   * @throws Error with code `EADDRINUSE` where somebody listens there already, or is about to; RangeError for a path that is
   * too long; Error for a directory that others may enter, or a socket that cannot be kept from them.
   */
  static async open(
    path: string,
    log: Logger,
    onConnection: Handler["onConnection"],
    nameListener: Handler["nameListener"],
  ): Promise<Listener> {
    checkSocketPath(path);
    // The working folder may change while the path is watched.
    const absolute = resolve(path);
    makeDirectory(dirname(absolute));
    const onError = (error: Error): void => { log.error("the listening socket failed", { path, error: error.message }); };
    const handler = { onConnection, onError, nameListener };
    return new Listener(absolute, log, handler, await listenAlone(absolute, handler));
  }

  /** Listen no more. Resolves when all connections have ended. */
  async close(): Promise<void> {
    this.isClosed = true;
    clearInterval(this.watch);
    await this.healing;
    try {
      // While this process listens there nobody else takes the path, so it cannot change between the two.
      if (identityOf(this.path) === this.listening.identity) unlinkSync(this.path);
    } catch (error) {
      this.log.warn("the socket cannot be removed", { path: this.path, error: messageOf(error) });
    }
    this.abandon(this.listening.server);
    await Promise.all(this.closing);
  }

  /** Not to keep the process running. */
  unref(): void {
    this.listening.server.unref();
  }

  private abandon(server: Server): void {
    this.closing.push(new Promise((ended) => server.close(() => { ended(); })));
  }

  private look(): void {
    let found: Identity | undefined;
    try {
      found = identityOf(this.path);
    } catch (error) {
      this.tell(`the socket cannot be looked at: ${messageOf(error)}`);
      return;
    }
    if (found === this.listening.identity) {
      this.told = "";
    } else if (found !== undefined) {
      this.tell("something else has replaced the socket: nobody can connect to this process while it is there");
    } else if (this.healing === undefined) {
      this.tell("the socket has been removed: nobody can connect until it is there again");
      this.healing = this.listenAgain().finally(() => { this.healing = undefined; });
    }
  }

  private async listenAgain(): Promise<void> {
    try {
      // Not its parents: what somebody has cleared away as a whole is not to come back in part.
      if (identityOf(dirname(this.path)) === undefined) mkdirSync(dirname(this.path), { mode: 0o700 });
      const listening = await listenAlone(this.path, this.handler);
      this.abandon(this.listening.server);
      this.listening = listening;
      if (!this.isClosed) this.log.warn("listening again", { path: this.path });
    } catch (error) {
      this.tell(`the socket has been removed and cannot be made again: ${messageOf(error)}`);
    }
  }

  /** Log it as an error, unless it is what was logged last: each look finds the same. */
  private tell(message: string): void {
    if (this.told === message) return;
    this.told = message;
    this.log.error(message, { path: this.path });
  }
}

/** Listen at `path` as the only one. */
async function listenAlone(path: string, handler: Handler): Promise<Listening> {
  checkDirectory(dirname(path));
  for (let left = MAX_CLAIMS; ; left--) {
    try {
      return await claim(path, handler);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ENOENT" || left === 0) throw error;
    }
  }
}

async function claim(path: string, handler: Handler): Promise<Listening> {
  const place = openSync(dirname(path), constants.O_RDONLY | constants.O_DIRECTORY);
  const own = `${basename(path)}.${randomBytes(8).toString("hex")}`;
  const file = join(dirname(path), own);
  let isAtPath = false;
  const server = createServer((socket) => {
    if (isAtPath) handler.onConnection(socket);
    // Another claim has looked whether this one lives.
    else socket.destroy();
  });
  try {
    await listenOn(server, reachable(file, place));
    server.on("error", handler.onError);
    await giveWay(path, own, place);
    await checkFree(path, place, handler);
    closeToOthers(file, path);
    renameSync(file, path);
    isAtPath = true;
    // Of the file as it is at the path: nobody else takes that while this server listens.
    const { dev, ino } = lstatSync(path, { bigint: true });
    return { server, identity: `${dev}:${ino}` };
  } catch (error) {
    server.close();
    removeIfThere(file);
    throw error;
  } finally {
    closeSync(place);
  }
}

/**
 * Wait until there is no other claim; of those that are there at once the one whose name comes first stays.
 *
 * Of two claims the one made later sees the other, or sees it at the path, where checkFree looks afterwards: so never do
 * both go on.
 *
 * @throws Error with code `EADDRINUSE`.
 */
async function giveWay(path: string, own: string, place: number): Promise<void> {
  const deadline = now() + GIVE_WAY_MS;
  for (;;) {
    const others = await liveClaims(path, own, place);
    if (others.length === 0) return;
    if (others.some((other) => other < own)) throw inUse(path, "another process has just begun to listen on it; end that process");
    if (now() > deadline) throw inUse(path, "another process has been about to listen on it for too long; end that process");
    await delay(GIVE_WAY_POLL_MS);
  }
}

/** The other claims, but those that killed processes have left, which are removed. */
async function liveClaims(path: string, own: string, place: number): Promise<string[]> {
  const live: string[] = [];
  const [prefix, directory] = [`${basename(path)}.`, dirname(path)];
  for (const name of readdirSync(directory)) {
    if (name === own || !name.startsWith(prefix) || !/^[0-9a-f]{16}$/.test(name.slice(prefix.length))) continue;
    const file = join(directory, name);
    if (statusOf(file)?.isSocket() !== true) continue;
    if (await isListening(reachable(file, place))) live.push(name);
    else removeIfThere(file);
  }
  return live;
}

async function checkFree(path: string, place: number, handler: Handler): Promise<void> {
  const status = statusOf(path);
  if (status === undefined) return;
  if (!status.isSocket()) throw inUse(path, "what is there is not a socket; remove it");
  const file = reachable(path, place);
  if (await isListening(file)) throw inUse(path, `${await handler.nameListener(file)} listens on it; end that process`);
}

/** A path of that file that fits into a socket's address, by its directory's descriptor. */
function reachable(file: string, place: number): string {
  return Buffer.byteLength(file) <= MAX_SOCKET_PATH_BYTES ? file : `/proc/self/fd/${place}/${basename(file)}`;
}

/** Make it, and those that it is in: Node's own `recursive` never returns where the system makes none, as in /proc. */
function makeDirectory(directory: string): void {
  if (existsSync(directory)) return;
  if (dirname(directory) !== directory) makeDirectory(dirname(directory));
  try {
    mkdirSync(directory, { mode: 0o700 });
  } catch (error) {
    // Another process has been quicker.
    if ((error as NodeJS.ErrnoException).code === "EEXIST") return;
    throw new Error(`${directory} cannot be made: ${messageOf(error)}; set SHM_POLYGLOT_DIR to another`, { cause: error });
  }
}

/** Check that the directory is ours alone. */
function checkDirectory(directory: string): void {
  const status = statSync(directory);
  if (!status.isDirectory()) throw new Error(`${directory} is not a directory; set SHM_POLYGLOT_DIR to another`);
  if (status.uid !== ownUid()) {
    throw new Error(`${directory} belongs to the user ${status.uid}, this process to ${ownUid()}; set SHM_POLYGLOT_DIR to another`);
  }
  const mode = status.mode & 0o777;
  if ((mode & 0o077) !== 0) {
    throw new Error(`${directory} has mode 0${mode.toString(8)}: others may enter; chmod 700 ${directory}, or set SHM_POLYGLOT_DIR`);
  }
}

/**
 * Leave the socket, which is to be at `path`, to its owner alone. A file system may have other ideas of modes than POSIX, so
 * it is checked.
 */
function closeToOthers(file: string, path: string): void {
  chmodSync(file, 0o600);
  const mode = Number(lstatSync(file, { bigint: true }).mode) & 0o777;
  if ((mode & 0o077) !== 0) {
    throw new Error(
      `${path} has mode 0${mode.toString(8)} even after chmod 600: others may connect; ` +
        "set SHM_POLYGLOT_DIR to a directory on a file system that keeps modes, such as /run or /tmp",
    );
  }
}

function inUse(path: string, why: string): Error {
  const error: NodeJS.ErrnoException = new Error(
    `EADDRINUSE: ${path}: ${why}, or set SHM_POLYGLOT_DIR to another directory for this process`,
  );
  error.code = "EADDRINUSE";
  return error;
}

/**
 * As `lstatSync` gives it, undefined where there is none. In bigints, for the sake of others, too: until Node 22 `require`
 * looks at the last status in numbers that anybody has asked for, and leaves symbolic links as they are where it was a socket's.
 */
export function statusOf(file: string): BigIntStats | undefined {
  return lstatSync(file, { bigint: true, throwIfNoEntry: false });
}

function identityOf(file: string): Identity | undefined {
  const status = statusOf(file);
  return status === undefined ? undefined : `${status.dev}:${status.ino}`;
}

function removeIfThere(file: string): void {
  try {
    unlinkSync(file);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
  }
}

function listenOn(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    // Exclusive: in a worker of node:cluster too it is this process that listens, not the primary.
    server.listen({ path, exclusive: true }, () => {
      server.removeListener("error", reject);
      resolve();
    });
  });
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function isListening(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", (error: NodeJS.ErrnoException) => {
      // Whatever else keeps one from connecting, such as a full queue, does not show that nobody is there.
      resolve(error.code !== "ECONNREFUSED" && error.code !== "ENOENT");
    });
  });
}
