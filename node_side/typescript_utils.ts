/**
 * The functions that Python calls: what JavaScript's own Intl does better than Python's standard library.
 * What Intl finds wrong with a locale, currency or zone crosses to Python as it is: a RangeError or TypeError.
 */

import { piecesOf, type SegmentOptions } from "./segmenting";
import { requireShort } from "./short_options";

export type { SegmentOptions };

/** The longest text that becomes a slug, in UTF-16 units. */
const MAX_SLUG_TEXT = 10_000;

/** More accents on one letter than this take Unicode's normalization time that is quadratic in their number. */
const MAX_MARKS = 100;
const TOO_MANY_MARKS = new RegExp(`\\p{M}{${MAX_MARKS + 1}}`, "u");

/**
 * A text as a part of a URL: lower case, no accents, one hyphen between words. Letters of any script are kept. Throws
 * RangeError for a text of more than 10,000 characters and for one with more than 100 accents on a letter.
 */
export function slugify(text: string): string {
  if (text.length > MAX_SLUG_TEXT) {
    throw new RangeError(`text must have at most ${MAX_SLUG_TEXT} characters, this one has ${text.length}`);
  }
  if (TOO_MANY_MARKS.test(text)) {
    throw new RangeError(`text must have at most ${MAX_MARKS} accents on a letter`);
  }
  return text
    .normalize("NFKD")
    .replace(/[\u0300-\u036f]/gu, "")
    .normalize("NFC")
    .toLowerCase()
    .replace(/[^\p{L}\p{M}\p{N}]+/gu, "-")
    .replace(/^-+|-+$/g, "");
}

/** A value as text, and the locale that Intl chose for it: the one asked for, or what it falls back to. */
export interface Formatted {
  formatted: string;
  locale: string;
}

export interface NumberOptions {
  /** A BCP 47 tag such as `de-DE`. */
  locale: string;
  /** `decimal` if left out; `currency` needs `currency`. */
  style?: Intl.NumberFormatOptions["style"];
  /** An ISO 4217 code such as `EUR`. */
  currency?: string;
}

/** A number as Intl.NumberFormat writes it. Throws RangeError or TypeError for options that Intl does not take. */
export function formatNumber(value: number | bigint, { locale, ...options }: NumberOptions): Formatted {
  requireShort({ locale, ...options });
  const format = new Intl.NumberFormat(locale, options);
  return { formatted: format.format(value), locale: format.resolvedOptions().locale };
}

export interface DateOptions {
  /** A BCP 47 tag such as `de-DE`. */
  locale: string;
  /** An IANA name such as `Europe/Berlin`; UTC if left out. */
  timeZone?: string;
}

/** Day and time of day as Intl.DateTimeFormat writes them. Throws RangeError for a bad locale or zone. */
export function formatDate(date: Date, { locale, timeZone = "UTC" }: DateOptions): Formatted {
  requireShort({ locale, timeZone });
  const format = new Intl.DateTimeFormat(locale, { dateStyle: "long", timeStyle: "short", timeZone });
  return { formatted: format.format(date), locale: format.resolvedOptions().locale };
}

/**
 * A text cut by Intl.Segmenter; joined together, the segments are the text again. Words of scripts that are written
 * without spaces (Chinese, Japanese, Thai) are found by dictionary. Throws RangeError for a bad locale or granularity and
 * for a text that is too long (see segmenting.ts).
 */
export function segment(text: string, options?: SegmentOptions): string[] {
  return [...piecesOf(text, options)].flat();
}
