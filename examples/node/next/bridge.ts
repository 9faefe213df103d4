import { type Bridge, listen } from "@shm-polyglot/protocol";

declare global {
  var bridge: Promise<Bridge> | undefined;
}

/**
 * The server's bridge. In globalThis, because each route may have a copy of this module, and `next dev` loads it anew when it is changed.
 * Opened by a call and not on import: `next build` imports the routes, several times at once.
 */
export function bridge(): Promise<Bridge> {
  return (globalThis.bridge ??= listen());
}
