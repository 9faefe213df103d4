/**
 * Cuts a text with Intl.Segmenter, piece by piece. Plain ECMAScript.
 *
 * V8 copies the whole text for each segment (the `input` of its result), up to Node 22 at least: a text of n letters costs
 * n² copied. So the text is looked at through a window, which is moved on to a boundary that the rest of the text cannot
 * change: the last two segments in the window are never taken, because what the Unicode rules look ahead at (UAX #29) lies
 * within the next segment, and no boundary inside a run that is cut by dictionary, because that depends on all of the run.
 */

import { requireShort } from "./short_options";

/** The longest text that is cut, in UTF-16 units. */
export const MAX_SEGMENT_TEXT = 100_000;

/** The longest run of a script without spaces that is cut into words, in characters: no such sentence is as long. */
export const MAX_UNSPACED_RUN = 1_000;

/** The width of the window, in UTF-16 units; twice that, and so on, where there is no boundary to be sure of. */
const WINDOW = 256;

/** What Intl.Segmenter cuts into words by dictionary, and what may stand behind it within a word: no punctuation but two. */
const UNSPACED =
  "(?:[゠・]|(?!\\p{P})[\\p{scx=Han}\\p{scx=Hira}\\p{scx=Kana}\\p{scx=Hang}\\p{scx=Thai}\\p{scx=Laoo}\\p{scx=Khmr}\\p{scx=Mymr}" +
  "\\p{scx=Tale}\\p{scx=Talu}\\p{scx=Lana}\\p{scx=Tavt}\\p{scx=Ahom}\\p{M}\\p{Cf}])";
const BEGINS_UNSPACED = new RegExp(`^${UNSPACED}`, "u");
const ENDS_UNSPACED = new RegExp(`${UNSPACED}$`, "u");
const TOO_LONG_RUN = new RegExp(`${UNSPACED}{${MAX_UNSPACED_RUN + 1}}`, "u");

export interface SegmentOptions {
  /** A BCP 47 tag; the one of the process if left out. */
  locale?: string;
  /** `word` if left out. */
  granularity?: "word" | "sentence" | "grapheme";
}

/** Some hundred segments at a time. Throws RangeError for a bad locale or granularity and for a text past the limits. */
export function* piecesOf(text: string, options: SegmentOptions = {}): Generator<string[]> {
  requireShort(options);
  const { locale, granularity = "word" } = options;
  const segmenter = new Intl.Segmenter(locale, { granularity });
  if (text.length > MAX_SEGMENT_TEXT) {
    throw new RangeError(`text must have at most ${MAX_SEGMENT_TEXT} characters to be cut, this one has ${text.length}`);
  }
  if (granularity === "word" && text.length > MAX_UNSPACED_RUN && TOO_LONG_RUN.test(text)) {
    throw new RangeError(
      `text must have a space or a mark of punctuation after at most ${MAX_UNSPACED_RUN} characters of a script that is ` +
        "written without spaces, to be cut into words",
    );
  }
  let width = WINDOW;
  for (let start = 0; start < text.length; ) {
    const end = endOfWindow(text, start + width);
    const segments = Array.from(segmenter.segment(text.slice(start, end)), (part) => part.segment);
    const certain = end === text.length ? segments.length : countCertain(segments, granularity);
    if (certain === 0) {
      width *= 2;
      continue;
    }
    const piece = segments.slice(0, certain);
    yield piece;
    start += piece.reduce((length, segment) => length + segment.length, 0);
    width = WINDOW;
  }
}

/** Does not part a surrogate pair. */
function endOfWindow(text: string, end: number): number {
  const isPair = (text.codePointAt(end - 1) ?? 0) > 0xffff;
  return Math.min(isPair ? end - 1 : end, text.length);
}

/** How many of the segments stay what they are, whatever follows. */
function countCertain(segments: readonly string[], granularity: SegmentOptions["granularity"]): number {
  let count = Math.max(0, segments.length - 2);
  if (granularity === "word") {
    while (count > 0 && isInsideRun(segments[count - 1] ?? "", segments[count] ?? "")) count -= 1;
  }
  return count;
}

function isInsideRun(before: string, after: string): boolean {
  return BEGINS_UNSPACED.test(after) && ENDS_UNSPACED.test(before);
}
