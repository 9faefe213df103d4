import assert from "node:assert/strict";
import { setImmediate as nextTurn } from "node:timers/promises";
import { suite, test } from "node:test";

import { segment as segmentInTurns } from "../in_turns";
import { MAX_SEGMENT_TEXT, MAX_UNSPACED_RUN, piecesOf } from "../segmenting";
import { segment } from "../typescript_utils";

const GRANULARITIES = ["word", "sentence", "grapheme"] as const;

/** What the Unicode rules and ICU's dictionaries treat in ways of their own. */
const ALPHABET = [
  ...["a", "B", "1", " ", "\n", "\r", ".", ",", "'", "-", "_", "!", "?", ")", '"', "ª", "א"],
  "\r\n", "\u0301", "\u200d", "\u00ad", "\u2060", "\u3000", "\u2029", "\ud800", "\udc00",
  "😀", "👩", "🇩", "🇪", "中", "国", "人", "。", "か", "カ", "ー", "゠", "・", "가", "ᄀ", "ᅡ",
  "สวัสดี", "ชาว", "\u0e33", "ក", "မ", "न", "्", "म", "a.", "3.4", "Mr. ", "?\" ",
];

/** Whole texts of ICU's own opinion, which is what the pieces have to add up to. */
function cutAtOnce(text: string, granularity: (typeof GRANULARITIES)[number]): string[] {
  return Array.from(new Intl.Segmenter("en", { granularity }).segment(text), (part) => part.segment);
}

/** Numbers below 1, the same in each run: a linear congruential generator. */
function* randomNumbers(seed: number): Generator<number, never> {
  for (;;) {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
    yield seed / 2 ** 32;
  }
}

suite("a text that is cut piece by piece", () => {
  test("has the segments that it has when it is cut at once", () => {
    const numbers = randomNumbers(20261126);
    const below = (limit: number): number => Math.floor(numbers.next().value * limit);
    for (let run = 0; run < 300; run += 1) {
      const letters = Array.from({ length: 1 + below(8) }, () => ALPHABET[below(ALPHABET.length)] ?? "");
      const text = Array.from({ length: 200 + below(800) }, () => letters[below(letters.length)] ?? "").join("");
      for (const granularity of GRANULARITIES) {
        if (granularity === "word" && isRefused(text)) continue;
        assert.deepEqual(segment(text, { locale: "en", granularity }), cutAtOnce(text, granularity), JSON.stringify(text));
      }
    }
  });

  test("keeps a cluster, a word and a sentence whole that are longer than the window", () => {
    const family = "👩" + "\u200d👩".repeat(1000);
    for (const [text, granularity] of [
      [`${family}a`, "grapheme"],
      [`${"e" + "\u0301".repeat(2000)}a`, "grapheme"],
      [`${"letter".repeat(500)} b`, "word"],
      [`${"word ".repeat(500)}. B`, "sentence"],
      [`A. ${"1 ".repeat(500)}b. C`, "sentence"],
    ] as const) {
      assert.deepEqual(segment(text, { granularity }), cutAtOnce(text, granularity));
    }
  });
});

function isRefused(text: string): boolean {
  try {
    segment(text, { locale: "en" });
    return false;
  } catch (error) {
    assert.ok(error instanceof RangeError);
    return true;
  }
}

suite("a text that is too long to be cut", () => {
  test("is refused with the limit, whatever the granularity", () => {
    for (const granularity of GRANULARITIES) {
      assert.throws(
        () => segment("a".repeat(MAX_SEGMENT_TEXT + 1), { granularity }),
        new RangeError("text must have at most 100000 characters to be cut, this one has 100001"),
      );
      assert.equal(segment("a".repeat(MAX_SEGMENT_TEXT), { granularity }).join("").length, MAX_SEGMENT_TEXT);
    }
  });

  test("in one word by dictionary is refused with the limit, and can be cut otherwise", () => {
    const text = "中".repeat(MAX_UNSPACED_RUN + 1);
    assert.throws(() => segment(text), { name: "RangeError", message: /at most 1000 characters of a script/ });
    assert.equal(segment(text, { granularity: "grapheme" }).length, MAX_UNSPACED_RUN + 1);
    assert.equal(segment(text.slice(1)).join(""), text.slice(1));
  });
});

/** The engine copies what it looks at for each segment, so it is the number of segments that may hold the event loop. */
const MOST_SEGMENTS_IN_A_PIECE = 1000;

suite("a text that is cut in turns", () => {
  for (const [name, unit] of [
    ["ASCII", "a "],
    ["Chinese", "中国人民。"],
    ["Thai", "สวัสดีชาวโลก "],
    ["families", "👩‍👩‍👧‍👦"],
    ["accents", "a\u0301\u0302 "],
    ["Arabic", "السلام عليكم "],
    ["unspaced runs as long as can be", `${"中国人民".repeat(250)}。`],
  ] as const) {
    for (const granularity of GRANULARITIES) {
      test(`leaves the event loop to others after each piece that took its time: ${name}, ${granularity}`, async (t) => {
        const text = unit.repeat(Math.floor(MAX_SEGMENT_TEXT / unit.length));
        const pieces = Array.from(piecesOf(text, { granularity }), (piece) => piece.length);
        assert.ok(Math.max(...pieces) <= MOST_SEGMENTS_IN_A_PIECE, `a piece of ${Math.max(...pieces)} segments`);

        let now = 0;
        t.mock.method(performance, "now", () => (now += 1000));
        const done = new AbortController();
        const cutting = segmentInTurns(text, { granularity }).finally(() => {
          done.abort();
        });
        let turns = 0;
        for (; !done.signal.aborted; turns += 1) {
          await nextTurn();
        }
        assert.equal((await cutting).join(""), text);
        assert.ok(turns >= pieces.length, `${turns} turns for ${pieces.length} pieces`);
      });
    }
  }
});
