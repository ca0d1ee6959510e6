/** All servers together: what tools there are, and calls to them, each within what its caller may do. */

import type { CallToolResult, Tool } from "@modelcontextprotocol/sdk/types.js";
import type { Grants } from "./auth.js";
import type { Config, Secrets } from "./config.js";
import { HubError, asHubError, text } from "./errors.js";
import type { EventBus } from "./events.js";
import type { Log } from "./log.js";
import { type Timing, Upstream } from "./upstream.js";

export interface ServerReport {
  name: string;
  type: string;
  state: string;
  since: string;
  error: string | null;
  tools: number;
}

export class Toolbox {
  private readonly upstreams: Map<string, Upstream>;
  private running = 0;

  constructor(
    servers: Config["servers"],
    private secrets: Secrets,
    private readonly most: number,
    private readonly log: Log,
    bus: EventBus,
    timing?: Timing,
  ) {
    const news = (what: "server" | "tools", one: Upstream) => {
      if (what === "server") bus.emit("hub/server", { server: one.name, state: one.state }, "hub");
      else bus.emit("hub/tools", { server: one.name, tools: one.tools.length }, "hub");
    };
    this.upstreams = new Map(
      Object.entries(servers).map(([name, server]) => [
        name,
        new Upstream(name, server, secrets.servers[name] ?? {}, log, news, timing),
      ]),
    );
  }

  start(): void {
    for (const upstream of this.upstreams.values()) upstream.start();
  }

  async stop(): Promise<void> {
    await Promise.all([...this.upstreams.values()].map((upstream) => upstream.stop()));
  }

  /** New credentials: servers whose credentials changed, or that refused the old ones, are connected anew. */
  async renew(secrets: Secrets): Promise<void> {
    const before = this.secrets;
    this.secrets = secrets;
    await Promise.all(
      [...this.upstreams.values()].map(async (one) => {
        const now = secrets.servers[one.name] ?? {};
        const same = JSON.stringify(now) === JSON.stringify(before.servers[one.name] ?? {});
        if (!same || one.state === "refused") await one.renew(now);
      }),
    );
  }

  /** Every server's state, whoever asks. */
  states(): { name: string; state: string; since: string }[] {
    return [...this.upstreams.values()].map(({ name, state, since }) => ({
      name,
      state,
      since: since.toISOString(),
    }));
  }

  servers(grants: Grants): ServerReport[] {
    return this.visible(grants).map((one) => ({
      name: one.name,
      type: one.config.type,
      state: one.state,
      since: one.since.toISOString(),
      error: one.lastError,
      tools: one.tools.length,
    }));
  }

  tools(grants: Grants): { server: string; tool: Tool }[] {
    return this.visible(grants).flatMap((one) =>
      one.tools
        .filter((tool) => grants.mayUse(one.name, tool.name))
        .map((tool) => ({ server: one.name, tool })),
    );
  }

  /**
   * Call a tool.
   *
   * @throws HubError 403 not allowed, 404 unknown, 400, 502 (`tool_failed` with the tool's own result), 503, 504.
   */
  async call(
    grants: Grants,
    server: string,
    tool: string,
    args: Record<string, unknown>,
  ): Promise<CallToolResult> {
    grants.need("call");
    // Allowed first, known second: who may not use a server does not learn what it has.
    if (!grants.mayUse(server, tool))
      throw new HubError(403, "tool_not_allowed", `${grants.name} may not use ${server}/${tool}`);
    const upstream = this.upstreams.get(server);
    if (!upstream) throw new HubError(404, "unknown_server", `there is no server \`${server}\``);
    if (this.running >= this.most) throw new HubError(503, "busy", "too many calls at once");
    const begun = performance.now();
    const outcome = (code: string) =>
      this.log.info("call", {
        client: grants.name,
        server,
        tool,
        outcome: code,
        ms: Math.round(performance.now() - begun),
      });
    this.running += 1;
    try {
      const result = await upstream.call(tool, args);
      if (result.isError) throw new HubError(502, "tool_failed", this.log.clean(words(result)), { result });
      outcome("ok");
      return result;
    } catch (error) {
      if (!(error instanceof HubError))
        this.log.error("a call broke the hub", { server, tool, error: text(error) });
      outcome(asHubError(error).code);
      throw error;
    } finally {
      this.running -= 1;
    }
  }

  private visible(grants: Grants): Upstream[] {
    return [...this.upstreams.values()].filter((one) => grants.maySee(one.name));
  }
}

/** The text in a tool's result. */
function words(result: CallToolResult): string {
  const said = result.content.flatMap((part) => (part.type === "text" ? [part.text] : [])).join(" ");
  return text(said || "the tool failed and does not say why");
}
