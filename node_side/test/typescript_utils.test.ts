import assert from "node:assert/strict";
import { test } from "node:test";

import { formatDate, formatNumber, segment, slugify } from "../typescript_utils";

test("slugify joins words with hyphens and drops accents", () => {
  for (const [text, slug] of [
    ["Hello, World", "hello-world"],
    ["  --A__b..C--  ", "a-b-c"],
    ["Crème Brûlée", "creme-brulee"],
    ["ÅNGSTRÖM", "angstrom"],
    ["e\u0301te\u0301", "ete"],
    ["ﬁne", "fine"],
    ["100%", "100"],
    ["", ""],
    ["?!", ""],
  ] as const) {
    assert.equal(slugify(text), slug, text);
  }
});

test("slugify keeps letters and vowel signs of other scripts", () => {
  for (const [text, slug] of [
    ["你好 世界", "你好-世界"],
    ["สวัสดี ชาวโลก", "สวัสดี-ชาวโลก"],
    ["हिन्दी भाषा", "हिन्दी-भाषा"],
    ["한국어 텍스트", "한국어-텍스트"],
    ["Привет, Мир", "привет-мир"],
  ] as const) {
    assert.equal(slugify(text), slug.normalize("NFC"), text);
  }
});

test("slugify refuses what would take it long, and names the limit", () => {
  assert.throws(() => slugify("a".repeat(10_001)), new RangeError("text must have at most 10000 characters, this one has 10001"));
  // Unicode's normalization sorts the accents of a letter, which takes time that is quadratic in their number.
  assert.throws(() => slugify("\u0301\u0316".repeat(5_000)), new RangeError("text must have at most 100 accents on a letter"));
  assert.equal(slugify(`a${"\u0301".repeat(100)}`), "a");
});

test("an option that no name is as long as is refused without being repeated", () => {
  const long = "x".repeat(100_000);
  for (const attempt of [
    () => formatNumber(1, { locale: long }),
    () => formatNumber(1, { locale: "de-DE", style: "currency", currency: long }),
    () => formatDate(new Date(0), { locale: "de-DE", timeZone: long }),
    () => segment("x", { locale: long }),
  ]) {
    assert.throws(attempt, { name: "RangeError", message: /^\w+ must have at most 255 characters, this one has 100000$/ });
  }
});

test("formatNumber writes numbers as the locale does and names the locale that was used", () => {
  assert.deepEqual(formatNumber(1234.5, { locale: "de-DE" }), { formatted: "1.234,5", locale: "de-DE" });
  assert.deepEqual(formatNumber(0.5, { locale: "en-US", style: "percent" }), { formatted: "50%", locale: "en-US" });
  assert.equal(formatNumber(2n ** 64n - 1n, { locale: "en-US" }).formatted, "18,446,744,073,709,551,615");
  assert.equal(formatNumber(1, { locale: "de-DE", style: "currency", currency: "EUR" }).formatted, "1,00\u00a0€");
});

test("formatNumber throws what Intl throws", () => {
  assert.throws(() => formatNumber(1, { locale: "no locale" }), RangeError);
  assert.throws(() => formatNumber(1, { locale: "de-DE", style: "currency" }), TypeError);
});

test("formatDate writes a date in the zone asked for, or in UTC", () => {
  const date = new Date("2024-01-31T23:30:00Z");
  assert.deepEqual(formatDate(date, { locale: "de-DE" }), { formatted: "31. Januar 2024 um 23:30", locale: "de-DE" });
  assert.equal(formatDate(date, { locale: "de-DE", timeZone: "Asia/Tokyo" }).formatted, "1. Februar 2024 um 08:30");
  assert.throws(() => formatDate(date, { locale: "de-DE", timeZone: "Mars/Base" }), RangeError);
});

test("segment cuts a text into segments that are the text again", () => {
  assert.deepEqual(segment("你好世界", { locale: "zh" }), ["你好", "世界"]);
  assert.deepEqual(segment("One. Two!", { granularity: "sentence" }), ["One. ", "Two!"]);
  assert.deepEqual(segment("👩‍👩‍👧e\u0301", { granularity: "grapheme" }), ["👩‍👩‍👧", "e\u0301"]);
  assert.deepEqual(segment(""), []);
  const text = "Hello, World! สวัสดีชาวโลก";
  assert.equal(segment(text).join(""), text);
  assert.throws(() => segment("x", { locale: "no locale" }), RangeError);
});
