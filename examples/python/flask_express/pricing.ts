/** What the shop's front end computes prices with, and its server too. */

const CENTS = new Map([["pen", 150], ["notebook", 420]]);

export interface Total {
  cents: number;
  text: string;
}

/** @throws RangeError for what is not sold. */
export function total(items: readonly { name: string; count: number }[]): Total {
  let cents = 0;
  for (const { name, count } of items) {
    const price = CENTS.get(name);
    if (price === undefined) throw new RangeError(`${name} is not sold here`);
    cents += price * count;
  }
  return { cents, text: (cents / 100).toLocaleString("de-DE", { style: "currency", currency: "EUR" }) };
}
