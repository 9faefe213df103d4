/** AbortSignal by a name that is there in every project: the global one is declared by @types/node and by the DOM's types. */

/** What an abort signal is where neither of them is. */
interface OwnAbortSignal {
  readonly aborted: boolean;
  readonly reason: unknown;
  throwIfAborted(): void;
  addEventListener(type: "abort", listener: () => void, options?: { once?: boolean }): void;
  removeEventListener(type: "abort", listener: () => void): void;
}

/** The project's AbortSignal. */
export type Signal = typeof globalThis extends { AbortSignal: { prototype: infer Global } } ? Global : OwnAbortSignal;
