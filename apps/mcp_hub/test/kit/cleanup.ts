import { after } from "node:test";

const work: (() => unknown)[] = [];

// At the top of a module: registered in a hook or a test, it would run when that ends.
after(async () => {
  for (const one of work.reverse()) await one();
});

/** Do this when the test file ends; the last comes first. */
export function atEnd(one: () => unknown): void {
  work.push(one);
}
