/**
 * What a function or an object that stays with its owner is sent as: ext 2 (PROTOCOL.md section 8). Which one it is, lending.ts
 * knows.
 */

/** The kinds. RETURNED: the receiver's own, which comes back to it. */
export const FUNCTION = 1;
export const OBJECT = 2;
export const RETURNED = 3;

/** Of the name of a function or of an object's class. */
export const MAX_NAME_BYTES = 128;

/** The bytes of a reference before its name. */
export const REFERENCE_HEAD_BYTES = 9;

/** A reference as it stands in a message. `name`: of the function, or of the object's class; empty where it comes back. */
export class Reference {
  constructor(
    readonly kind: number,
    readonly id: number,
    readonly name = "",
  ) {}
}

/** What an encoder asks about a function or an object that is no value. */
export interface Holding {
  /** It stands for a thing of the peer's, and goes back; undefined: it does not. @throws Unencodable where it may not. */
  returned(held: object): Reference | undefined;
  /** @throws Unencodable where the peer does not know Arrow tables. */
  requireTables(): void;
}

/** Puts what a reference stands for in its place. @throws ProtocolError */
export type Resolve = (reference: Reference) => unknown;
