import assert from "node:assert/strict";
import { suite, test } from "node:test";

import fc from "fast-check";

import { MAX_EXPOSED } from "../src/frames";
import { type Worker, Workers } from "../src/workers";

class Fake implements Worker {
  outstanding = 0;
  busy = false;
  readonly exposed = new Set<string>();

  /** `names`: whether it names what it exposes. */
  constructor(
    readonly id: number,
    readonly names: boolean,
  ) {}

  isPeerBusy(): boolean {
    return this.busy;
  }

  /** What it has to do, as PROTOCOL.md section 5 has it. */
  get load(): number {
    return this.outstanding + (this.busy ? 64 : 0);
  }
}

const METHODS = ["ml.predict", "ml.train", "mine.f", "f"];

type Step =
  | { kind: "attach"; names: boolean; exposes: string[] }
  | { kind: "expose"; which: number; exposes: string[] }
  | { kind: "load"; which: number; outstanding: number; busy: boolean }
  | { kind: "remove"; which: number };

const methods = fc.subarray(METHODS);
const which = fc.nat(7);
const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({ kind: fc.constant("attach" as const), names: fc.boolean(), exposes: methods }),
  fc.record({ kind: fc.constant("expose" as const), which, exposes: methods }),
  fc.record({ kind: fc.constant("load" as const), which, outstanding: fc.nat(130), busy: fc.boolean() }),
  fc.record({ kind: fc.constant("remove" as const), which }),
);

/** What the rule says, without any of the cleverness: those of which one must be chosen, undefined where none may be. */
function allowed(attached: readonly Fake[], everNamed: ReadonlySet<string>, method: string): Fake[] | undefined {
  const having = attached.filter((worker) => worker.names && worker.exposed.has(method));
  const silent = attached.filter((worker) => !worker.names);
  if (having.length > 0) return having;
  if (silent.length > 0) return silent;
  return everNamed.has(method) || attached.length === 0 ? undefined : [...attached];
}

suite("the choice of a worker", () => {
  test("whatever happens, a call goes to one of those that have the function and, of these, have least to do", () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
        const workers = new Workers<Fake>();
        const everNamed = new Set<string>();
        let attached: Fake[] = [];
        const expose = (worker: Fake, names: string[]): void => {
          for (const name of names) {
            worker.exposed.add(name);
            everNamed.add(name);
          }
          workers.expose(worker, names);
        };
        steps.forEach((taken, id) => {
          const worker = taken.kind === "attach" ? new Fake(id, taken.names) : attached[taken.which % Math.max(1, attached.length)];
          if (worker === undefined) return;
          if (taken.kind === "attach") {
            if (worker.names) expose(worker, taken.exposes);
            workers.add(worker);
            attached.push(worker);
          } else if (taken.kind === "expose") {
            if (worker.names) expose(worker, taken.exposes);
          } else if (taken.kind === "load") {
            Object.assign(worker, { outstanding: taken.outstanding, busy: taken.busy });
          } else {
            workers.remove(worker);
            attached = attached.filter((one) => one !== worker);
          }
          assert.equal(workers.count, attached.length);
          for (const method of METHODS) {
            const may = allowed(attached, everNamed, method);
            const chosen = workers.next(method);
            if (may === undefined) {
              assert.equal(chosen, undefined, method);
              assert.equal(workers.mayServe(method), false);
              continue;
            }
            assert.ok(chosen !== undefined && may.includes(chosen), `${method}: ${chosen?.id}`);
            assert.equal(chosen.load, Math.min(...may.map(({ load }) => load)), method);
            assert.equal(workers.mayServe(method), may.some((one) => !one.names || one.exposed.has(method)));
          }
        });
      }),
      { numRuns: 500 },
    );
  });

  test("of several that have nothing to do each gets its turn, whatever function it is of those that they share", () => {
    const workers = new Workers<Fake>();
    const fakes = [0, 1, 2].map((id) => new Fake(id, true));
    for (const fake of fakes) {
      workers.expose(fake, ["a", "b"]);
      workers.add(fake);
    }
    const other = new Fake(3, true);
    workers.expose(other, ["c"]);
    workers.add(other);
    const asked = ["a", "b", "a", "b", "b", "a"].map((method) => workers.next(method)?.id);
    assert.deepEqual(asked.slice(0, 3).sort(), [0, 1, 2]);
    assert.deepEqual(asked.slice(3), asked.slice(0, 3));
    assert.equal(workers.next("c"), other);
  });

  test("one that has left is not chosen again, whatever it says on its way out", () => {
    const workers = new Workers<Fake>();
    const fake = new Fake(0, true);
    workers.add(fake);
    workers.remove(fake);
    workers.expose(fake, ["f"]);
    workers.add(fake);
    assert.equal(workers.next("f"), undefined);
    assert.equal(workers.count, 0);
  });

  test("names that nobody has any more are remembered, but not without end", () => {
    const workers = new Workers<Fake>();
    const stays = new Fake(0, true);
    workers.expose(stays, ["stays"]);
    workers.add(stays);
    const comeAndGo = (id: number, count: number): void => {
      const fake = new Fake(id, true);
      workers.expose(fake, Array.from({ length: count }, (_, index) => `of ${id}: ${index}`));
      workers.add(fake);
      workers.remove(fake);
    };
    comeAndGo(1, 10);
    assert.equal(workers.next("of 1: 0"), undefined);
    comeAndGo(2, MAX_EXPOSED);
    // As if it had never been there: anybody is asked, and says that there is no such function.
    assert.equal(workers.next("of 1: 0"), stays);
    assert.equal(workers.next("of 2: 0"), stays);
    assert.equal(workers.next("stays"), stays);
  });
});
