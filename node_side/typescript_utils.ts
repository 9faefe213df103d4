/**
 * The functions that Python calls: what JavaScript's own Intl does better than Python's standard library.
 * What Intl finds wrong with a locale, currency or zone crosses to Python as it is: a RangeError or TypeError.
 */

/** A text as a part of a URL: lower case, no accents, one hyphen between words. Letters of any script are kept. */
export function slugify(text: string): string {
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
  const format = new Intl.DateTimeFormat(locale, { dateStyle: "long", timeStyle: "short", timeZone });
  return { formatted: format.format(date), locale: format.resolvedOptions().locale };
}

export interface SegmentOptions {
  /** A BCP 47 tag; the one of the process if left out. */
  locale?: string;
  /** `word` if left out. */
  granularity?: "word" | "sentence" | "grapheme";
}

/**
 * A text cut by Intl.Segmenter; joined together, the segments are the text again. Words of scripts that are written
 * without spaces (Chinese, Japanese, Thai) are found by dictionary. Throws RangeError for a bad locale or granularity.
 */
export function segment(text: string, { locale, granularity = "word" }: SegmentOptions = {}): string[] {
  return Array.from(new Intl.Segmenter(locale, { granularity }).segment(text), (part) => part.segment);
}
