/** Waits that double from `first` to `most` milliseconds, a quarter of each at random: after a power cut
 * not everybody shall knock at once. */
export class Backoff {
  private wait: number;

  constructor(
    private readonly first: number,
    private readonly most: number,
    private readonly random: () => number = Math.random,
  ) {
    this.wait = first;
  }

  /** The next wait in milliseconds. */
  next(): number {
    const wait = this.wait;
    this.wait = Math.min(wait * 2, this.most);
    return Math.round(wait * (0.75 + 0.25 * this.random()));
  }

  reset(): void {
    this.wait = this.first;
  }
}
