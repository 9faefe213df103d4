/**
 * Functions and objects that one side lends to the other, for the time of a call or until they are released (PROTOCOL.md section
 * 7): the tables of one connection.
 */

import { types } from "node:util";

import { EncodeError, mergeStacks, ProtocolError, Released, UnknownMethod } from "./errors";
import { type Entry, type ExposedFunction, isClass, methodsOf } from "./exposables";
import { MAX_REFERENCES } from "./frames";
import type { Meta } from "./meta";
import {
  type Borrowing,
  makeCallback,
  makeHandle,
  REFERENCE_PREFIX,
  type ReferenceCallOptions,
  Remote,
  remoteOf,
} from "./references";
import { isStream, type ValueStream } from "./streams";
import { read } from "./thrown";
import { NdArray, type Value } from "./value_types";
import { FUNCTION, type Holding, isTable, MAX_NAME_BYTES, OBJECT, Reference, RETURNED, type TableBytes, tableOfBytes, Unencodable } from "./values";

/** In one frame, so that it is small beside any message. */
const IDS_AT_ONCE = 1000;

/** Since when a peer knows references. */
const MINOR_OF_REFERENCES = 2;
/** Since when it knows Arrow tables. */
const MINOR_OF_TABLES = 2;

/** What the tables need of the session. */
export interface LendingSession {
  /** Call a function of the peer as part of what is being served. */
  callFor(method: string, args: readonly unknown[], options: ReferenceCallOptions): Promise<Value>;
  streamFor(method: string, args: readonly unknown[], options: ReferenceCallOptions): ValueStream;
  sendHold(ids: readonly number[]): void;
  sendRelease(ids: readonly number[]): void;
}

/** A function or an object of this side's that the peer has. `isKept`: beyond the call that it is an argument of. */
interface Lent {
  readonly kind: number;
  readonly target: object;
  isKept: boolean;
  /** Of an object its methods, once one has been called. */
  methods: Map<string, unknown> | undefined;
}

/** Arguments with references in the place of functions. `ids`: of what has been lent for them. */
export interface LentArguments {
  readonly args: readonly unknown[];
  readonly meta: Meta | undefined;
  readonly ids: readonly number[];
}

/** What both sides of one connection have of each other's. */
export class Lending implements Holding, Borrowing {
  private readonly lent = new Map<number, Lent>();
  private readonly held = new Map<number, Remote>();
  private lastId = 0;
  private toRelease: number[] = [];
  private hasEnded = false;
  /** What came by the message that is being received. */
  private arrivals: Remote[] = [];
  /** Something that came back by it has been released here. */
  private isStale = false;
  /** Why a table or buffer that came by it cannot be given to the program. */
  private unreadable: string | undefined;

  constructor(
    private readonly session: LendingSession,
    private readonly peerMinor: number,
  ) {}

  /** How much each side has of the other's. */
  get counts(): { lent: number; held: number } {
    return { lent: this.lent.size, held: this.held.size };
  }

  // ---- what this side lends

  /** Lend the functions among the arguments. Undefined: there are none. @throws EncodeError */
  lendArguments(args: readonly unknown[], meta: Meta | undefined): LentArguments | undefined {
    const kwargs = meta?.kwargs;
    if (!args.some(isCallback) && (kwargs === undefined || !Object.values(kwargs).some(isCallback))) return undefined;
    const ids: number[] = [];
    const lend = (path: string, value: unknown): unknown => {
      if (!isCallback(value)) return value;
      if (this.peerMinor < MINOR_OF_REFERENCES) {
        throw new EncodeError(`${path}: functions as arguments need protocol 1.${MINOR_OF_REFERENCES}, the peer speaks 1.${this.peerMinor}`);
      }
      const reference = this.lend(path, FUNCTION, value, false);
      ids.push(reference.id);
      return reference;
    };
    try {
      const lentArgs = args.map((value, index) => lend(`args[${index}]`, value));
      if (meta === undefined || kwargs === undefined) return { args: lentArgs, meta, ids };
      const lentKwargs = Object.fromEntries(Object.entries(kwargs).map(([name, value]) => [name, lend(`kwargs.${name}`, value)]));
      return { args: lentArgs, meta: { ...meta, kwargs: lentKwargs }, ids };
    } catch (error) {
      this.takeBack(ids);
      throw error;
    }
  }

  /** Lend what a function gives, or an item of it. Undefined: it is a value, or nothing that is lent. @throws EncodeError */
  lendResult(value: unknown): Reference | undefined {
    if (isCallback(value)) return this.lend("result", FUNCTION, value, true);
    if (typeof value !== "object" || value === null || isValue(value)) return undefined;
    return this.lend("result", OBJECT, value, true);
  }

  private lend(path: string, kind: number, target: object, isKept: boolean): Reference {
    if (this.lent.size >= MAX_REFERENCES) {
      throw new EncodeError(
        `${path}: the peer has ${this.lent.size} functions and objects of this side's that it has not released; at most ${MAX_REFERENCES} are allowed`,
      );
    }
    const id = ++this.lastId;
    this.lent.set(id, { kind, target, isKept, methods: undefined });
    return new Reference(kind, id, nameOf(kind, target));
  }

  /** The call has ended that these were lent for, or was not made. The peer may have held some of them. */
  takeBack(ids: readonly number[]): void {
    for (const id of ids) if (this.lent.get(id)?.isKept === false) this.lent.delete(id);
  }

  /** The peer does not use these any more. @throws ProtocolError */
  onRelease(ids: readonly number[]): void {
    for (const id of ids) {
      this.checkLent(id, "a release of");
      this.lent.delete(id);
    }
  }

  /** The peer keeps these beyond their calls. @throws ProtocolError */
  onHold(ids: readonly number[]): void {
    for (const id of ids) {
      this.checkLent(id, "a hold of");
      const lent = this.lent.get(id);
      // Its call may have ended here meanwhile: who holds it is told when it is called.
      if (lent !== undefined) lent.isKept = true;
    }
  }

  /** What a request for a method runs. Undefined: it is no name of what is lent. @throws Released, UnknownMethod */
  find(method: string): Entry | undefined {
    if (!method.startsWith(REFERENCE_PREFIX)) return undefined;
    const [, digits = "", , member = ""] = /^([1-9]\d{0,15})(\.(.+))?$/s.exec(method.slice(REFERENCE_PREFIX.length)) ?? [];
    const id = Number(digits);
    const lent = this.lent.get(id);
    if (lent === undefined) {
      if (id >= 1 && id <= this.lastId) throw new Released(`${method}: the function or object has been released`);
    } else if (lent.kind === FUNCTION && member === "") {
      return { run: lent.target as ExposedFunction, self: undefined };
    } else if (lent.kind === OBJECT && member !== "") {
      return { run: methodOf(method, lent, member), self: lent.target };
    }
    throw new UnknownMethod(`${method}: nothing of that name has been lent`);
  }

  private checkLent(id: number, what: string): void {
    if (id < 1 || id > this.lastId) throw new ProtocolError(`${what} ${id}, which was never lent`);
  }

  // ---- what the peer lends

  /** What a reference of a message stands for. @throws ProtocolError */
  readonly resolve = (reference: Reference): unknown => {
    if (reference.kind === RETURNED) {
      this.checkLent(reference.id, "a reference to");
      const lent = this.lent.get(reference.id);
      if (lent === undefined) this.isStale = true;
      return lent?.target ?? null;
    }
    if (this.held.has(reference.id)) throw new ProtocolError(`a second reference with id ${reference.id}`);
    if (this.held.size >= 2 * MAX_REFERENCES) throw new ProtocolError(`more than ${2 * MAX_REFERENCES} references`);
    const isFunction = reference.kind === FUNCTION;
    const name = reference.name || (isFunction ? "a function" : "an object");
    const remote = new Remote(this, reference.id, name, isFunction ? "lent" : "kept");
    this.held.set(reference.id, remote);
    this.arrivals.push(remote);
    return isFunction ? makeCallback(remote) : makeHandle(remote);
  };

  /** The table that has arrived, or null where that cannot be read: its call fails. */
  readonly readTable = (received: TableBytes): object | null => {
    try {
      return tableOfBytes(received);
    } catch (error) {
      this.unreadable = String(read(error, "message"));
      return null;
    }
  };

  /** A buffer of the message cannot be had, and why: its call fails. */
  withhold(why: string): void {
    this.unreadable = why;
  }

  /** Whether the message that is being received has references, or a table or buffer that cannot be had. */
  get hasArrived(): boolean {
    return this.arrivals.length > 0 || this.isStale || this.unreadable !== undefined;
  }

  /**
   * What came by the message that is being received. `isStale`: something is missing in it, which has been released here; `unreadable`:
   * a table or buffer, and why.
   */
  takeArrived(): { remotes: readonly Remote[]; isStale: boolean; unreadable: string | undefined } {
    const arrived = { remotes: this.arrivals, isStale: this.isStale, unreadable: this.unreadable };
    this.arrivals = [];
    this.isStale = false;
    this.unreadable = undefined;
    return arrived;
  }

  /** These are results: they are lent until they are released. */
  keep(remotes: readonly Remote[]): void {
    for (const remote of remotes) remote.state = "kept";
  }

  /** The call has ended that these came with. What has not been held is released, which the peer knows. */
  endCall(remotes: readonly Remote[]): void {
    for (const remote of remotes) {
      if (remote.state !== "lent") continue;
      remote.state = "ended";
      this.held.delete(remote.id);
    }
  }

  returned(held: object): Reference | undefined {
    const remote = remoteOf(held);
    if (remote === undefined) return undefined;
    const what = `what stands for ${remote.name} of the peer's`;
    if (remote.borrowing !== this) throw Unencodable.of(`${what}, which came by another connection,`);
    if (remote.isReleased) throw Unencodable.of(`${what}, which has been released,`);
    return new Reference(RETURNED, remote.id);
  }

  requireTables(): void {
    if (this.peerMinor >= MINOR_OF_TABLES) return;
    throw new Unencodable(`an Arrow table needs protocol 1.${MINOR_OF_TABLES}, the peer speaks 1.${this.peerMinor}: it cannot be encoded`);
  }

  hold(remote: Remote): void {
    remote.requireUsable(`${remote.name}.hold()`);
    if (remote.state !== "lent") return;
    remote.state = "kept";
    if (!this.hasEnded) this.session.sendHold([remote.id]);
  }

  letGo(remote: Remote): void {
    if (remote.isReleased) return;
    remote.state = "let go";
    if (!this.held.delete(remote.id) || this.hasEnded) return;
    // Together with what else is let go of now: the collector finds many at once.
    if (this.toRelease.push(remote.id) === 1) queueMicrotask(() => { this.tellReleased(); });
  }

  private tellReleased(): void {
    const ids = this.toRelease;
    this.toRelease = [];
    if (this.hasEnded) return;
    for (let start = 0; start < ids.length; start += IDS_AT_ONCE) this.session.sendRelease(ids.slice(start, start + IDS_AT_ONCE));
  }

  async callReference(remote: Remote, member: string, args: readonly unknown[], options: ReferenceCallOptions): Promise<Value> {
    remote.requireUsable(member === "" ? remote.name : `${remote.name}.${member}`);
    try {
      return await this.session.callFor(fullName(remote, member), args, options);
    } catch (error) {
      // As Bridge.call: only here it is known who waits for it.
      throw mergeStacks(error);
    }
  }

  streamReference(remote: Remote, member: string, args: readonly unknown[], options: ReferenceCallOptions): ValueStream {
    remote.requireUsable(member === "" ? remote.name : `${remote.name}.${member}`);
    return this.session.streamFor(fullName(remote, member), args, options);
  }

  /** The connection has ended, and with it all that has been lent. */
  end(): void {
    this.hasEnded = true;
    this.lent.clear();
    this.held.clear();
  }
}

function fullName(remote: Remote, member: string): string {
  return `${REFERENCE_PREFIX}${remote.id}${member === "" ? "" : `.${member}`}`;
}

/** A function of this side's. What stands for one of the peer's goes back to it. */
function isCallback(value: unknown): value is ExposedFunction {
  if (typeof value !== "function" || remoteOf(value) !== undefined) return false;
  try {
    return !isClass(value);
  } catch {
    // A proxy that lets nobody look at it: it is refused, as any other such value.
    return false;
  }
}

/** What is sent as a value, or refused as one. An object that has functions of its own is none, of whatever class. */
function isValue(value: object): boolean {
  if (remoteOf(value) !== undefined || Array.isArray(value) || ArrayBuffer.isView(value) || types.isAnyArrayBuffer(value)) return true;
  if (types.isDate(value) || types.isMap(value) || types.isSet(value) || types.isPromise(value) || value instanceof NdArray) return true;
  if (isTable(value) || isStream(value)) return true;
  if (types.isProxy(value)) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  if (prototype !== Object.prototype && prototype !== null) return false;
  return !Object.values(Object.getOwnPropertyDescriptors(value)).some((property) => typeof (property as PropertyDescriptor).value === "function");
}

function methodOf(method: string, lent: Lent, member: string): ExposedFunction {
  const kind = nameOf(lent.kind, lent.target);
  if (lent.methods === undefined) {
    try {
      lent.methods = methodsOf(kind, lent.target);
    } catch (error) {
      throw new UnknownMethod(`${method}: looking at ${kind} raised ${String(read(error, "message"))}`);
    }
  }
  const found = lent.methods.get(member);
  const isPublic = typeof found === "function" && !member.startsWith("_") && member !== "constructor" && !isClass(found);
  if (!isPublic) throw new UnknownMethod(`${method}: ${kind} has no public method ${JSON.stringify(member)}`);
  return found as ExposedFunction;
}

/** For messages. No getter is run to find out. */
function nameOf(kind: number, target: object): string {
  const holder = kind === FUNCTION ? target : constructorOf(target);
  const name = types.isProxy(holder) || holder === undefined ? "" : (Object.getOwnPropertyDescriptor(holder, "name")?.value as unknown);
  let text = typeof name === "string" ? name.slice(0, MAX_NAME_BYTES).toWellFormed() : "";
  while (Buffer.byteLength(text) > MAX_NAME_BYTES) text = text.slice(0, -1).toWellFormed();
  return text;
}

function constructorOf(target: object): object | undefined {
  if (types.isProxy(target)) return undefined;
  const prototype = Object.getPrototypeOf(target) as object | null;
  if (prototype === null || types.isProxy(prototype)) return undefined;
  const made = Object.getOwnPropertyDescriptor(prototype, "constructor")?.value as unknown;
  return typeof made === "function" ? made : undefined;
}
