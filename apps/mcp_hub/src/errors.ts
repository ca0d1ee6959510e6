/** What a client may be told: an HTTP status, a word for programs, a sentence for people. */
export class HubError extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
    /** More fields for the answer, such as the result of a tool that failed. */
    readonly more: Record<string, unknown> = {},
  ) {
    super(message);
  }

  /** The answer's `error` object. */
  toJSON(): Record<string, unknown> {
    return { code: this.code, message: this.message };
  }
}

/** Any failure as a HubError; what is not one is our own mistake, and its text stays in the log. */
export function asHubError(error: unknown): HubError {
  if (error instanceof HubError) return error;
  return new HubError(500, "internal", "the hub failed; its log says why");
}

/** An error's text in one line of bounded length, with the cause that `fetch failed` hides. */
export function text(error: unknown, limit = 300): string {
  if (!(error instanceof Error)) return clip(String(error), limit);
  const cause = error.cause instanceof Error ? error.cause : undefined;
  const why = cause ? `: ${cause.message || ("code" in cause ? String(cause.code) : cause.name)}` : "";
  return clip(`${error.message}${why}`, limit);
}

function clip(words: string, limit: number): string {
  const line = words.replace(/\s+/g, " ").trim();
  return line.length > limit ? `${line.slice(0, limit)}...` : line;
}
