/** A module to expose. */

export function double(x: number): number {
  return 2 * x;
}

export const later = async (x: number): Promise<number> => Promise.resolve(x);

export function _private(): number {
  return 1;
}

export class Thing {
  readonly x = 1;

  static make(): Thing {
    return new this();
  }

  twice(): number {
    return 2 * this.x;
  }
}

export const thing = new Thing();

class Connection {
  query(): number {
    return 1;
  }
}

/** Of a class that is no part of the module. */
export const connection = new Connection();

export const constant = 5;

export const nested = { inner: (): number => 1 };
