/** What a text says of its language. */
export interface Words {
  count: number;
  longest: string;
}

/** The words of a text, as Intl finds them: also where nobody writes spaces. */
export function words(text: string, { locale = "en" }: { locale?: string } = {}): Words {
  const segmenter = new Intl.Segmenter(locale, { granularity: "word" });
  const found = [...segmenter.segment(text)].filter(({ isWordLike }) => isWordLike).map(({ segment }) => segment);
  return { count: found.length, longest: found.reduce((longest, word) => (word.length > longest.length ? word : longest), "") };
}

/** Python need not know that it is asynchronous. */
export async function countdown(from: number): Promise<string> {
  await Promise.resolve();
  return Array.from({ length: from }, (_, index) => from - index).join(", ");
}

/** Read item by item. */
export function* letters(text: string): Generator<string> {
  for (const { segment } of new Intl.Segmenter("en").segment(text)) yield segment;
}

export const FAMILY = "👨‍👩‍👧";
