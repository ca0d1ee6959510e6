/** One JSON object a line on stdout; systemd's journal keeps them. */

export const LEVELS = ["error", "warn", "info", "debug"] as const;
export type Level = (typeof LEVELS)[number];
type Fields = Record<string, unknown>;

const SHORTEST_SECRET = 6; // shorter ones would blank out common words

export class Log {
  private secrets: string[] = [];

  constructor(
    public level: Level = "info",
    private readonly write: (line: string) => void = (line) => void process.stdout.write(`${line}\n`),
  ) {}

  /** From now on these values never appear in a line or in `clean` text. */
  hide(secrets: readonly string[]): void {
    this.secrets = secrets.filter((secret) => secret.length >= SHORTEST_SECRET);
  }

  /** The words without any secret: an upstream's error may quote the token that it was sent. */
  clean(words: string): string {
    return this.secrets.reduce((rest, secret) => rest.replaceAll(secret, "[secret]"), words);
  }

  error(message: string, fields: Fields = {}): void {
    this.line("error", message, fields);
  }
  warn(message: string, fields: Fields = {}): void {
    this.line("warn", message, fields);
  }
  info(message: string, fields: Fields = {}): void {
    this.line("info", message, fields);
  }
  debug(message: string, fields: Fields = {}): void {
    this.line("debug", message, fields);
  }

  private line(level: Level, message: string, fields: Fields): void {
    if (LEVELS.indexOf(level) > LEVELS.indexOf(this.level)) return;
    this.write(this.clean(JSON.stringify({ time: new Date().toISOString(), level, message, ...fields })));
  }
}
