import { setTimeout as sleep } from "node:timers/promises";

/** Ask until the answer is not undefined, null or false; fails with the last error after the limit (ms). */
export async function until<T>(
  ask: () => T | Promise<T>,
  what: string,
  limit = 20_000,
): Promise<NonNullable<T>> {
  const end = Date.now() + limit;
  let last: unknown;
  while (Date.now() < end) {
    try {
      const answer = await ask();
      if (answer !== undefined && answer !== null && answer !== false) return answer;
    } catch (error) {
      last = error;
    }
    await sleep(20);
  }
  throw new Error(`in vain: ${what}${last ? ` (${String(last)})` : ""}`);
}
