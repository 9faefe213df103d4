/**
 * What stands here for a function or an object of the other side's: Callback and Handle (PROTOCOL.md section 7).
 *
 * They belong to the connection that they came by. Who is told that one is no longer used, and when, is lending.ts's to know.
 */

import type { Signal } from "./abort_signal";
import { Released } from "./errors";
import type { ValueStream } from "./streams";
import type { Value } from "./value_types";

/** What the name begins with that a function or an object of the peer's is called by. */
export const REFERENCE_PREFIX = "shm_polyglot.ref.";

/** Of a reference: until the call has ended that it is an argument of; until it is released; that call has ended; it was let go of. */
export type RemoteState = "lent" | "kept" | "ended" | "let go";

/** How to call what is on the other side. What is left out has its default. */
export interface ReferenceCallOptions {
  /** Keyword arguments. */
  kwargs?: Readonly<Record<string, unknown>> | undefined;
  /** How long to wait for the answer, in milliseconds; Infinity for ever. Default: 30,000; of a stream: for ever. */
  timeoutMs?: number | undefined;
  /** Aborting it cancels the call. */
  signal?: Signal | undefined;
  /** W3C trace context for the callee. Default: that of the call being served. */
  traceparent?: string | undefined;
  /** How many items of a stream may be on their way, 1 to 65,536. Default: 64. */
  credit?: number | undefined;
  /** Take a {@link Handle} where what it gives is no value. */
  handles?: boolean | undefined;
}

/** The table that a reference is in, which has its connection: lending.ts. */
export interface Borrowing {
  callReference(remote: Remote, member: string, args: readonly unknown[], options: ReferenceCallOptions): Promise<Value>;
  streamReference(remote: Remote, member: string, args: readonly unknown[], options: ReferenceCallOptions): ValueStream;
  hold(remote: Remote): void;
  letGo(remote: Remote): void;
}

/** A reference's state, apart from what the program has of it: that can be collected. */
export class Remote {
  constructor(
    readonly borrowing: Borrowing,
    readonly id: number,
    readonly name: string,
    public state: RemoteState,
  ) {}

  get isReleased(): boolean {
    return this.state === "ended" || this.state === "let go";
  }

  /** @throws Released. `what` is wanted of it. */
  requireUsable(what: string): void {
    if (this.state === "ended") {
      throw new Released(`${what}: the call that this function was given to has ended; call its hold() before that to keep it`);
    }
    if (this.state === "let go") throw new Released(`${what}: it has been released`);
  }
}

/** `[Symbol.dispose]()`, for `using`, where the project's types know it. */
export type Disposing = typeof Symbol extends { readonly dispose: infer Dispose extends symbol } ? DisposedBy<Dispose> : object;

/** What `using` calls, by its name. */
export type DisposedBy<Key extends symbol> = Readonly<Record<Key, () => void>>;

/** What a callback has beside its call. */
export interface CallbackMembers<Args extends readonly unknown[]> {
  /** Call it, where it gives an iterator, and read what it gives. @throws as {@link Bridge.stream} */
  stream(...args: Args): ValueStream;
  /**
   * Keep it beyond the call that it was given to: until `release`, until nothing refers to it any more, or until its
   * connection ends. Gives the callback itself. May be called again.
   *
   * @throws Released where that call has ended.
   */
  hold(): this;
  /** Use it no more: its owner may forget it. May be called again. */
  release(): void;
}

/**
 * A function of the other side's, which it has given as an argument. Calling it calls it there: on the connection that it came
 * by, as part of the call that is being served, as any nested call. It may be called until the function that it was given to has
 * returned, or its promise is settled, or its stream has ended; `hold()` keeps it for longer.
 *
 * A call of it rejects as {@link Bridge.call} does, and with {@link Released} after its time.
 */
export type Callback<Args extends readonly unknown[] = readonly unknown[], Result = Value> = ((...args: Args) => Promise<Result>) &
  CallbackMembers<Args> &
  Disposing;

/** A method of an object that stays on the other side. */
export interface RemoteMethod {
  /** Call it. What it gives and is no value is a {@link Handle}. */
  (...args: readonly unknown[]): Promise<Value>;
  /** Call it, where it gives an iterator, and read what it gives. */
  stream(...args: readonly unknown[]): ValueStream;
}

/** What a handle has beside the methods. */
export interface HandleMembers {
  /** Release it: its owner may forget it. May be called again. */
  dispose(): void;
}

/**
 * An object that stays on the other side, where its state is: `await model.predict(text)` calls its public method. It is released by
 * `dispose()`, by `using`, when nothing refers to it any more, and by the end of its connection; a use after that is a
 * {@link Released}. Given back to the other side, in any place of a value, it is the object itself there.
 *
 * A method with the name `dispose`, `then` or `toJSON`, and one that begins with `_`, cannot be called by a handle.
 */
export type Handle<Methods extends object = Readonly<Record<string, RemoteMethod>>> = Methods & HandleMembers & Disposing;

const remotes = new WeakMap<object, Remote>();
/** What handles stand in front of. */
const targets = new WeakMap<object, HandleTarget>();

/** The reference that a callback or a handle stands for; undefined: it is neither. */
export function remoteOf(value: object): Remote | undefined {
  return remotes.get(value);
}

/** Is it an object that stays on the other side? */
export function isHandle(value: unknown): value is Handle {
  return typeof value === "object" && value !== null && remotes.has(value);
}

// What is done when nothing refers to it any more: by what is known of it apart from it.
const registry = new FinalizationRegistry<Remote>((remote) => { remote.borrowing.letGo(remote); });

/** What the program gets for a function. It must not be kept by anything of the library's. */
export function makeCallback(remote: Remote): Callback {
  const callback = (...args: readonly unknown[]): Promise<Value> => remote.borrowing.callReference(remote, "", args, {});
  const members = {
    name: { value: remote.name },
    stream: { value: (...args: readonly unknown[]) => remote.borrowing.streamReference(remote, "", args, {}) },
    hold: { value: hold },
    release: { value: release },
    [Symbol.dispose]: { value: release },
  };
  return registered(Object.defineProperties(callback, members) as Callback, remote);
}

function hold<T extends object>(this: T): T {
  const remote = remotes.get(this);
  if (remote === undefined) throw new TypeError("hold: must be called on the callback that it is of");
  remote.borrowing.hold(remote);
  return this;
}

function release(this: object): void {
  const remote = remotes.get(this);
  if (remote === undefined) throw new TypeError("release: must be called on the callback or handle that it is of");
  remote.borrowing.letGo(remote);
}

const NODE_INSPECT = Symbol.for("nodejs.util.inspect.custom");

/** What a handle stands in front of. */
class HandleTarget {
  /** So that `handle.predict === handle.predict`. Not in the Remote, which would keep the handle by them. */
  readonly methods = new Map<string, RemoteMethod>();
  /** Those are all. */
  isDescribed = false;
  /** What console.log shows. It looks behind a proxy, and finds it here; `this` is the proxy then. */
  readonly [NODE_INSPECT]: () => string;

  constructor(remote: Remote) {
    this[NODE_INSPECT] = () => `Handle of ${remote.name}${remote.isReleased ? ", released" : ""}`;
  }
}
Object.defineProperty(HandleTarget, "name", { value: "Handle" });

/** What the program gets for an object. It must not be kept by anything of the library's. */
export function makeHandle(remote: Remote): Handle {
  const target = new HandleTarget(remote);
  const handle: Handle = new Proxy(target, {
    get: (_, key) => member(handle, target, key),
    set: (_, key) => { throw new TypeError(`${remote.name}.${String(key)}: the properties of an object on the other side cannot be set`); },
    ownKeys: () => [],
    getOwnPropertyDescriptor: () => undefined,
    defineProperty: () => false,
    setPrototypeOf: () => false,
  }) as unknown as Handle;
  targets.set(handle, target);
  return registered(handle, remote);
}

/**
 * Have methods of a handle be these: of whoever knows their signatures. `of`: the name of their class; an object of just that
 * class has no others. Nothing for what is no handle.
 */
export function giveMethods(handle: object, of: string, methods: readonly (readonly [string, RemoteMethod])[]): void {
  const target = targets.get(handle);
  for (const [name, method] of methods) target?.methods.set(name, method);
  if (target !== undefined && remotes.get(handle)?.name === of) target.isDescribed = true;
}

function member(handle: Handle, target: HandleTarget, key: string | symbol): unknown {
  if (key === "dispose" || key === Symbol.dispose) return release;
  if (key === Symbol.toStringTag) return "Handle";
  if (typeof key === "symbol" || key.startsWith("_")) return undefined;
  // Else `await handle`, and a promise that resolves to it, would call it there; likewise JSON.stringify and `${handle}`.
  if (key === "then" || key === "toJSON") return undefined;
  let method = target.methods.get(key);
  if (method !== undefined) return method;
  // What every object has, such as toString, but where its class is known to have its own.
  if (key in Object.prototype) return Reflect.get(target, key) as unknown;
  if (!target.isDescribed) {
    // They keep the handle: a method that somebody has taken of it can be called as long as he has it.
    method = Object.assign(
      (...args: readonly unknown[]): Promise<Value> => callMethod(handle, key, args),
      { stream: (...args: readonly unknown[]): ValueStream => streamMethod(handle, key, args) },
    );
    Object.defineProperty(method, "name", { value: key });
    target.methods.set(key, method);
  }
  return method;
}

/**
 * Call a method of an object of the other side's, for whoever knows its signature.
 *
 * @throws (as a rejection) TypeError for what is no handle; Released; and as {@link Bridge.call}.
 * @internal
 */
export async function callMethod(handle: object, name: string, args: readonly unknown[], options: ReferenceCallOptions = {}): Promise<Value> {
  const remote = remotes.get(handle);
  if (remote === undefined) throw new TypeError(`${name}: must be called on a handle`);
  // Awaited: else whoever calls it is not in the stack of what is thrown.
  return await remote.borrowing.callReference(remote, name, args, { handles: true, ...options });
}

/**
 * The same for a method that gives an iterator.
 *
 * @throws as {@link callMethod}
 * @internal
 */
export function streamMethod(handle: object, name: string, args: readonly unknown[], options: ReferenceCallOptions = {}): ValueStream {
  const remote = remotes.get(handle);
  if (remote === undefined) throw new TypeError(`${name}: must be called on a handle`);
  return remote.borrowing.streamReference(remote, name, args, { handles: true, ...options });
}

function registered<T extends object>(value: T, remote: Remote): T {
  remotes.set(value, remote);
  registry.register(value, remote);
  return value;
}
