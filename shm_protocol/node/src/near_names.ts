/** Names that somebody may have meant who has written another, for an error's text. It costs little, however many there are. */

const MOST_SEEN = 4096;
const MOST_COMPARED = 64;
const MOST_NAMED = 3;
const LONGEST = 64;
/** So many letters wrong, missing, too many or in each other's place are another name. */
const FAR = 3;

/** ` (did you mean a, b?)`, or nothing where no name is near. */
export function didYouMean(name: string, names: Iterable<string>): string {
  const letters = Array.from(name);
  if (letters.length > LONGEST) return "";
  const found: [number, string][] = [];
  let compared = 0;
  let seen = 0;
  for (const other of names) {
    if (++seen > MOST_SEEN || compared === MOST_COMPARED) break;
    const theirs = Array.from(other);
    if (Math.abs(theirs.length - letters.length) >= FAR || !looksAlike(letters, theirs)) continue;
    compared++;
    const distance = distanceOf(letters, theirs);
    // Of a short name, most of it is to be right.
    if (distance < FAR && distance * 3 <= letters.length) found.push([distance, other]);
  }
  if (found.length === 0) return "";
  found.sort(([a, one], [b, other]) => a - b || (one < other ? -1 : 1));
  return ` (did you mean ${found.slice(0, MOST_NAMED).map(([, other]) => other).join(", ")}?)`;
}

function looksAlike(name: readonly string[], other: readonly string[]): boolean {
  return name[0] === other[0] || name.at(-1) === other.at(-1);
}

function distanceOf(a: readonly string[], b: readonly string[]): number {
  let before: number[] = [];
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i++) {
    const above = before;
    before = row;
    row = [i];
    for (let j = 1; j <= b.length; j++) {
      let best = Math.min(at(before, j) + 1, at(row, j - 1) + 1, at(before, j - 1) + (a[i - 1] === b[j - 1] ? 0 : 1));
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) best = Math.min(best, at(above, j - 2) + 1);
      row.push(best);
    }
  }
  return at(row, b.length);
}

function at(row: readonly number[], index: number): number {
  return row[index] ?? 0;
}
