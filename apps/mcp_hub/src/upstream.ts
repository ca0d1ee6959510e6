/** One MCP server: connected, lost, found again; its tools, and calls to them. */

import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import {
  type CallToolResult,
  ListToolsResultSchema,
  type Tool,
  ToolListChangedNotificationSchema,
} from "@modelcontextprotocol/sdk/types.js";
import { ArgumentChecks } from "./arguments.js";
import { Backoff } from "./backoff.js";
import type { ServerConfig } from "./config.js";
import { HubError, text } from "./errors.js";
import { type Failure, failureOf } from "./failure.js";
import type { Log } from "./log.js";
import { type ServerSecrets, type Way, wayTo } from "./transport.js";
import { VERSION } from "./version.js";

export type State = "connecting" | "connected" | "down" | "refused" | "stopped";

interface Session {
  client: Client;
  way: Way;
}

export interface Timing {
  /** First and longest wait between attempts, in milliseconds. */
  retry: [number, number];
  /** The same after refused credentials. */
  refused: [number, number];
}

// Home Assistant bans an address for ever after some (often 10) wrong tokens, and behind its proxy that may be
// everybody's address. So a refused token is tried a few times only, and then a reload is waited for.
export const TIMING: Timing = { retry: [500, 30_000], refused: [30_000, 600_000] };
const REFUSALS = 4;
const MOST_PAGES = 100;
const STALE = 5000; // ms: an unknown tool is worth a new look when the list is older

export class Upstream {
  state: State = "connecting";
  since = new Date();
  lastError: string | null = null;
  tools: readonly Tool[] = [];
  private checks: ArgumentChecks;
  private session: Session | undefined;
  private attempt: Promise<void> | undefined;
  private timer: NodeJS.Timeout | undefined;
  private listedAt = 0;
  private refusals = 0;
  private readonly retry: Backoff;
  private readonly afterRefusal: Backoff;

  constructor(
    readonly name: string,
    readonly config: ServerConfig,
    private secrets: ServerSecrets,
    private readonly log: Log,
    /** Told of every change of state and of tools. */
    private readonly news: (what: "server" | "tools", upstream: Upstream) => void,
    timing: Timing = TIMING,
  ) {
    this.checks = new ArgumentChecks(log);
    this.retry = new Backoff(...timing.retry);
    this.afterRefusal = new Backoff(...timing.refused);
  }

  /** Connect, and keep at it. */
  start(): void {
    void this.connect();
  }

  /** New credentials: connect with them at once. */
  async renew(secrets: ServerSecrets): Promise<void> {
    this.secrets = secrets;
    this.refusals = 0;
    this.afterRefusal.reset();
    await this.attempt;
    await this.leave();
    if (this.state !== "stopped") await this.connect();
  }

  async stop(): Promise<void> {
    this.become("stopped");
    clearTimeout(this.timer);
    await this.leave();
  }

  /**
   * Call a tool; the result may say that the tool failed.
   *
   * @throws HubError 400 bad arguments, 404 no such tool, 502 the server failed, 504 it took too long.
   */
  async call(tool: string, args: Record<string, unknown>): Promise<CallToolResult> {
    const session = await this.ready();
    const known = await this.find(tool);
    if (!known) throw new HubError(404, "unknown_tool", `${this.name} has no tool \`${tool}\``);
    const wrong = this.checks.wrong(known, args);
    if (wrong !== undefined) throw new HubError(400, "bad_arguments", wrong);
    try {
      return await this.send(this.session ?? session, tool, args);
    } catch (error) {
      const failure = this.judge(this.session ?? session, error);
      if (!failure.retry) throw this.told(failure);
    }
    // The server forgot our session, so it did not do what we asked: once more, in a new one.
    const again = await this.ready();
    try {
      return await this.send(again, tool, args);
    } catch (error) {
      throw this.told(this.judge(again, error));
    }
  }

  private async send(session: Session, tool: string, args: Record<string, unknown>): Promise<CallToolResult> {
    const timeout = this.config.timeoutSeconds * 1000;
    return (await session.client.callTool({ name: tool, arguments: args }, undefined, {
      timeout,
    })) as CallToolResult;
  }

  /** The session; where there is none, one attempt is made now, whatever the wait was. */
  private async ready(): Promise<Session> {
    if (!this.session && (this.state === "down" || this.state === "connecting")) await this.connect();
    if (!this.session)
      throw new HubError(
        502,
        "server_down",
        `${this.name} is ${this.state}${this.lastError ? `: ${this.lastError}` : ""}`,
      );
    return this.session;
  }

  private async find(tool: string): Promise<Tool | undefined> {
    const known = () => this.tools.find((one) => one.name === tool);
    if (!known() && Date.now() - this.listedAt > STALE) await this.refresh();
    return known();
  }

  private connect(): Promise<void> {
    clearTimeout(this.timer);
    this.attempt ??= this.tryOnce().finally(() => {
      this.attempt = undefined;
    });
    return this.attempt;
  }

  private async tryOnce(): Promise<void> {
    if (this.session || this.state === "stopped") return;
    const client = new Client({ name: "mcp-hub", version: VERSION });
    let session: Session | undefined;
    try {
      session = { client, way: wayTo(this.name, this.config, this.secrets, this.log) };
      const current = session;
      await client.connect(current.way.transport, { timeout: this.config.timeoutSeconds * 1000 });
      client.onclose = () => this.lost(current, "the server closed the connection");
      client.setNotificationHandler(ToolListChangedNotificationSchema, () => this.refresh());
      await this.list(current);
      this.connected(current);
    } catch (error) {
      await session?.way.close().catch(() => undefined);
      this.failed(failureOf(error));
    }
  }

  private connected(session: Session): void {
    if (this.stopped()) return void session.way.close().catch(() => undefined);
    this.session = session;
    this.lastError = null;
    this.refusals = 0;
    this.retry.reset();
    this.afterRefusal.reset();
    this.become("connected");
    this.later(this.config.refreshSeconds * 1000, () => this.refresh());
  }

  // A method, for the compiler believes that nothing changes while one waits.
  private stopped(): boolean {
    return this.state === "stopped";
  }

  /** No connection: note why, and try again after a while. */
  private failed(failure: Failure): void {
    if (this.stopped()) return;
    this.lastError = this.log.clean(failure.message);
    this.refusals = failure.refused ? this.refusals + 1 : 0;
    this.become(failure.refused ? "refused" : "down");
    if (this.refusals >= REFUSALS) {
      this.log.error("a server refuses our credentials, waiting for a reload", {
        server: this.name,
        error: this.lastError,
      });
      return;
    }
    this.later((failure.refused ? this.afterRefusal : this.retry).next(), () => this.connect());
  }

  private lost(session: Session, why: string): void {
    if (session !== this.session) return;
    this.session = undefined;
    void session.way.close().catch(() => undefined);
    this.failed({ status: 502, code: "server_down", message: why, lost: true });
  }

  /** Ask for the tools again; this is how a server that died in silence is noticed. */
  private async refresh(): Promise<void> {
    const session = this.session;
    if (!session) return;
    try {
      await this.list(session);
      this.later(this.config.refreshSeconds * 1000, () => this.refresh());
    } catch (error) {
      const failure = failureOf(error);
      if (failure.refused) await this.leave().then(() => this.failed(failure));
      else this.lost(session, failure.message);
    }
  }

  private async list(session: Session): Promise<void> {
    const tools: Tool[] = [];
    let cursor: string | undefined;
    for (let page = 0; page < MOST_PAGES; page += 1) {
      const request = { method: "tools/list" as const, params: cursor === undefined ? {} : { cursor } };
      // Not client.listTools: it compiles every output schema, and one bad tool would cost us all of them.
      const answer = await session.client.request(request, ListToolsResultSchema, {
        timeout: this.config.timeoutSeconds * 1000,
      });
      tools.push(...answer.tools);
      cursor = answer.nextCursor;
      if (cursor === undefined) break;
    }
    this.listedAt = Date.now();
    if (JSON.stringify(tools) === JSON.stringify(this.tools)) return;
    this.tools = tools;
    this.checks = new ArgumentChecks(this.log);
    this.news("tools", this);
  }

  /** What an error in a call means, and what it means for the session. */
  private judge(session: Session, error: unknown): Failure {
    const failure = failureOf(error);
    if (failure.lost || failure.retry) this.lost(session, failure.message);
    else if (failure.refused && session === this.session) void this.leave().then(() => this.failed(failure));
    // Slow, or gone without a word? Its answer to the next question will tell.
    else if (failure.status === 504 && session === this.session) this.later(0, () => this.refresh());
    this.log.warn("a call failed", { server: this.name, error: text(error) });
    return failure;
  }

  private told(failure: Failure): HubError {
    return new HubError(failure.status, failure.code, `${this.name}: ${this.log.clean(failure.message)}`);
  }

  private async leave(): Promise<void> {
    const session = this.session;
    this.session = undefined;
    await session?.way.close().catch(() => undefined);
  }

  private become(state: State): void {
    if (state === this.state) return;
    this.state = state;
    this.since = new Date();
    const fields = {
      server: this.name,
      state,
      ...(this.lastError === null ? {} : { error: this.lastError }),
    };
    if (state === "down" || state === "refused") this.log.warn("server", fields);
    else this.log.info("server", fields);
    this.news("server", this);
  }

  private later(milliseconds: number, work: () => Promise<void>): void {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => void work(), milliseconds);
  }
}
