import { LONGEST, spread, Vocabulary, words } from "./words.py";

const text = "the cat and the dog and the mouse";

console.log(await spread(text));
// What is keyword-only in Python is in one object, behind the others.
console.log((await spread(text, { at_least: 4 }))?.longest, await spread("", { at_least: 4 }), LONGEST);

for await (const word of words("one by one")) console.log(word);

// An object of a class stays in Python. It is released at the end of its block, with `using`, or by dispose().
const vocabulary = await new Vocabulary({ lower_case: true });
console.log(await vocabulary.learn(text), await vocabulary.usual(2));
vocabulary.dispose();
