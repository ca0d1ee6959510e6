/** Who may do what: bearer tokens, known by their SHA-256 only, and a limit on wrong ones. */

import { createHash, timingSafeEqual } from "node:crypto";
import type { Config, Scope } from "./config.js";
import { HubError } from "./errors.js";
import { matches } from "./glob.js";

/** What a client, or the MQTT side, may do. */
export class Grants {
  constructor(
    readonly name: string,
    readonly scopes: readonly Scope[],
    /** Patterns of `server/tool`; none: every tool. */
    private readonly tools?: readonly string[],
  ) {}

  /** @throws HubError 403 without this scope. */
  need(scope: Scope): void {
    if (!this.scopes.includes(scope)) {
      throw new HubError(403, "scope_missing", `${this.name} lacks the scope \`${scope}\``);
    }
  }

  mayUse(server: string, tool: string): boolean {
    return this.tools?.some((pattern) => matches(pattern, `${server}/${tool}`)) ?? true;
  }

  maySee(server: string): boolean {
    return this.tools?.some((pattern) => matches(pattern.slice(0, pattern.indexOf("/")), server)) ?? true;
  }
}

/** Counts failures by address in windows of a minute; the table is bounded. */
export class FailureLimit {
  private readonly failures = new Map<string, { count: number; until: number }>();

  constructor(
    private readonly most: number,
    private readonly now: () => number = Date.now,
    private readonly addresses = 10_000,
  ) {}

  /** Count one failure; the seconds to wait when it was one too many, else 0. */
  count(address: string): number {
    const now = this.now();
    const entry = this.failures.get(address);
    if (!entry || entry.until <= now) {
      this.failures.delete(address);
      this.shed();
      this.failures.set(address, { count: 1, until: now + 60_000 });
      return 0;
    }
    entry.count += 1;
    return entry.count > this.most ? Math.ceil((entry.until - now) / 1000) : 0;
  }

  private shed(): void {
    if (this.failures.size < this.addresses) return;
    const oldest = this.failures.keys().next();
    if (!oldest.done) this.failures.delete(oldest.value);
  }
}

interface Entry {
  hash: Buffer;
  grants: Grants;
}

export class Doorkeeper {
  private entries: Entry[] = [];

  constructor(
    clients: Config["clients"],
    private readonly limit: FailureLimit,
  ) {
    this.replace(clients);
  }

  /** The clients as they are from now on. */
  replace(clients: Config["clients"]): void {
    this.entries = Object.entries(clients).flatMap(([name, client]) => {
      const grants = new Grants(name, client.scopes, client.tools);
      return client.tokenSha256.map((hash) => ({ hash: Buffer.from(hash, "hex"), grants }));
    });
  }

  /**
   * The client of this token. A valid one passes whatever its address did: behind one proxy or the subnet router
   * everybody has the same address, and one device with an old token must not lock out the others.
   *
   * @throws HubError 401, or 429 after too many failures.
   */
  admit(token: string | undefined, address: string): Grants {
    const grants = token === undefined ? undefined : this.find(token);
    if (grants) return grants;
    const wait = this.limit.count(address);
    if (wait > 0) throw new HubError(429, "too_many_failures", "too many wrong tokens", { retryAfter: wait });
    throw new HubError(
      401,
      "unauthorized",
      token === undefined ? "a bearer token is needed" : "this token is not valid",
    );
  }

  /** Looks at every entry, whether one fitted already or not: the time taken tells nothing. */
  find(token: string): Grants | undefined {
    const digest = createHash("sha256").update(token).digest();
    let found: Grants | undefined;
    for (const { hash, grants } of this.entries) {
      if (timingSafeEqual(digest, hash)) found = grants;
    }
    return found;
  }
}

/** The token in an `Authorization: Bearer ...` header. */
export function bearer(header: string | undefined): string | undefined {
  return /^Bearer +([\x21-\x7e]+)$/i.exec(header ?? "")?.[1];
}
