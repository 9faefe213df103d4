/** What the Node side of the pairing tests does with Arrow tables. */

import { RecordBatch, Table, tableFromArrays, vectorFromArray } from "apache-arrow";

export const tableFunctions = {
  /** What a table is, and what it has. */
  rows: (table: Table) => [table instanceof Table, table.schema.names, (table.toArray() as { toJSON(): object }[]).map((row) => Object.values(row.toJSON()) as unknown[])],
  numRows: (table: Table) => table.numRows,
  sum: (table: Table, name: string) => {
    let sum = 0;
    for (const value of table.getChild(name) ?? []) sum += Number(value);
    return sum;
  },
  make: (rows: number) => tableFromArrays({
    x: Float64Array.from({ length: rows }, (_, index) => index),
    word: Array.from({ length: rows }, (_, index) => (index % 2 === 0 ? "even" : "odd")),
  }),
  *each(rows: number): Generator<Table> { yield tableFromArrays({ x: new Float64Array(rows) }) as Table; },
  batch: () => new Table({ a: vectorFromArray([1, null, 3]) }).batches[0] as RecordBatch,
  none: () => new Table(),
};
