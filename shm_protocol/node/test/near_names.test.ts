/** What an unknown name may have been meant for (test_near_names.py: the same in Python). */

import assert from "node:assert/strict";
import { suite, test } from "node:test";

import { didYouMean } from "../src/near_names";

const NAMES = ["ml.predict", "ml.predict_batch", "ml.protect", "text.words", "f", "shm_polyglot.sources"];

suite("near names", () => {
  for (const [name, expected] of [
    ["ml.predcit", " (did you mean ml.predict?)"],
    ["ml.predicts", " (did you mean ml.predict?)"],
    ["m.predict", " (did you mean ml.predict?)"],
    ["ml.predect", " (did you mean ml.predict, ml.protect?)"],
    ["test.words", " (did you mean text.words?)"],
    ["ml.train", ""],
    ["g", ""],
    ["", ""],
    ["x".repeat(256), ""],
    ["\u{1F600}l.predict", " (did you mean ml.predict?)"],
  ] as const) {
    test(`of ${JSON.stringify(name.slice(0, 20))}`, () => {
      assert.equal(didYouMean(name, NAMES), expected);
    });
  }

  test("no more are compared or named than a text needs", () => {
    const asked = Array.from({ length: 100_000 }, (_, number) => `f${String(number).padStart(4, "0")}`).values();
    assert.equal(didYouMean("f000x", asked), " (did you mean f0000, f0001, f0002?)");
    assert.equal(asked.next().done, false);
  });
});
