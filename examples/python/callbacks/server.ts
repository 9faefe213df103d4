import { type Callback, listen } from "@shm-polyglot/protocol";

const subscribed: Callback[] = [];

const work = {
  /** A function of Python's is called as any other that gives a promise, until this one's promise is settled. */
  async resize(pictures: string[], onProgress: Callback<[string, number], null>): Promise<number> {
    for (const [index, picture] of pictures.entries()) await onProgress(picture, (index + 1) / pictures.length);
    return pictures.length;
  },
  async keep(numbers: number[], accept: Callback<[number], boolean>): Promise<number[]> {
    const accepted = await Promise.all(numbers.map((number) => accept(number)));
    return numbers.filter((_, index) => accepted[index]);
  },
  /** For longer it has to be held. */
  subscribe(listener: Callback): void {
    subscribed.push(listener.hold());
  },
  async publish(news: string): Promise<number> {
    for (const listener of subscribed) await listener(news);
    return subscribed.length;
  },
};

await listen({ expose: { work } });
