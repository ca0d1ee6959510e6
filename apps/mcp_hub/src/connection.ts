/** One WebSocket client: what it says and what it is told. */

import type { RawData, WebSocket } from "ws";
import { type Grants, bearer } from "./auth.js";
import type { Limits } from "./config.js";
import { HubError, asHubError, text } from "./errors.js";
import type { HubEvent } from "./events.js";
import { matches } from "./glob.js";
import { json } from "./http.js";
import { type Message, message, shaped } from "./requests.js";
import type { Context } from "./rest.js";

export const NOT_ADMITTED = 4401;
export const TOO_SLOW = 4408;
const MOST_CALLS = 32; // at once, of one client
const MOST_PATTERNS = 200;

export class Connection {
  private grants: Grants | undefined;
  private token = "";
  private readonly patterns = new Set<string>();
  private alive = true;
  private calls = 0;
  private readonly deadline: NodeJS.Timeout;
  private readonly unlisten: () => void;

  constructor(
    private readonly socket: WebSocket,
    private readonly context: Context,
    private readonly limits: Limits,
    private readonly address: string,
    gone: () => void,
  ) {
    this.deadline = setTimeout(() => this.close(NOT_ADMITTED, "no token came"), limits.authSeconds * 1000);
    this.unlisten = context.bus.listen((event) => this.happened(event));
    socket.on("message", (data, binary) => void this.received(data, binary));
    socket.on("pong", () => {
      this.alive = true;
    });
    socket.on("error", (error) => context.log.debug("WebSocket", { address, error: text(error) }));
    socket.on("close", () => {
      clearTimeout(this.deadline);
      this.unlisten();
      gone();
    });
  }

  admit(grants: Grants, authorization: string): void {
    clearTimeout(this.deadline);
    this.grants = grants;
    this.token = authorization;
    this.context.log.info("WebSocket opened", { client: grants.name, address: this.address });
    this.send({ type: "auth_ok", client: grants.name, scopes: grants.scopes });
  }

  /** Ping; end a client that has not answered the last one. */
  beat(): void {
    if (!this.alive) return this.socket.terminate();
    this.alive = false;
    this.socket.ping();
  }

  /** After a reload: is the token still this client's, with the same rights? */
  recheck(): void {
    if (!this.grants) return;
    const now = this.context.doorkeeper.find(bearer(this.token) ?? "");
    if (JSON.stringify(now) !== JSON.stringify(this.grants))
      this.close(NOT_ADMITTED, "the token or its rights changed");
  }

  close(code: number, reason: string): void {
    this.socket.close(code, reason);
    // Who does not answer the goodbye is not waited for.
    setTimeout(() => this.socket.terminate(), 1000).unref();
  }

  private happened(event: HubEvent): void {
    for (const pattern of this.patterns) {
      if (matches(pattern, event.type)) return this.send({ type: "event", event });
    }
  }

  private async received(data: RawData, binary: boolean): Promise<void> {
    let id: string | number | undefined;
    try {
      if (binary) throw new HubError(400, "bad_json", "messages are JSON text");
      const value = json(String(data));
      id = idOf(value);
      const said = shaped(message, value);
      if (said.type === "auth") return this.authenticate(said.token);
      if (!this.grants) throw new HubError(401, "unauthorized", "the first message must be auth");
      if (said.type === "ping") return this.send({ type: "pong", id });
      this.send({ type: "result", id, ok: true, result: await this.act(said, this.grants) });
    } catch (error) {
      this.failed(id, error);
    }
  }

  private authenticate(token: string): void {
    if (this.grants) throw new HubError(400, "bad_request", "already authenticated");
    const authorization = `Bearer ${token}`;
    this.admit(this.context.doorkeeper.admit(bearer(authorization), this.address), authorization);
  }

  private failed(id: string | number | undefined, error: unknown): void {
    const told = asHubError(error);
    if (told.status === 500) this.context.log.error("a message broke the hub", { error: text(error) });
    this.send({
      type: "result",
      id,
      ok: false,
      error: { ...told.toJSON(), status: told.status },
      ...resultOf(told),
    });
    if (this.grants) return;
    this.context.log.warn("not admitted", { address: this.address, path: "/ws" });
    this.close(NOT_ADMITTED, told.message.slice(0, 100));
  }

  private act(said: Exclude<Message, { type: "auth" | "ping" }>, grants: Grants): unknown {
    const { toolbox, bus } = this.context;
    switch (said.type) {
      case "subscribe":
        grants.need("read");
        return this.subscribe(said.events);
      case "unsubscribe":
        for (const pattern of said.events) this.patterns.delete(pattern);
        return { events: [...this.patterns] };
      case "publish":
        grants.need("publish");
        return bus.publish(said.event.type, said.event.data, grants.name);
      case "servers":
        grants.need("read");
        return toolbox.servers(grants);
      case "tools":
        grants.need("read");
        return toolbox.tools(grants).map(({ server, tool }) => ({ server, ...tool }));
      case "call":
        return this.call(said, grants);
    }
  }

  private subscribe(events: readonly string[]): { events: string[] } {
    if (new Set([...this.patterns, ...events]).size > MOST_PATTERNS) {
      throw new HubError(400, "too_many", `at most ${MOST_PATTERNS} patterns`);
    }
    for (const pattern of events) this.patterns.add(pattern);
    return { events: [...this.patterns] };
  }

  private async call(said: Extract<Message, { type: "call" }>, grants: Grants): Promise<unknown> {
    if (this.calls >= MOST_CALLS) throw new HubError(503, "busy", `at most ${MOST_CALLS} calls at once`);
    this.calls += 1;
    try {
      return await this.context.toolbox.call(grants, said.server, said.tool, said.arguments);
    } finally {
      this.calls -= 1;
    }
  }

  /** What a client does not fetch waits in our memory: past the limit it has to go. */
  private send(words: unknown): void {
    if (this.socket.readyState !== this.socket.OPEN) return;
    if (this.socket.bufferedAmount > this.limits.webSocketQueueBytes) {
      this.context.log.warn("a slow WebSocket client is dropped", {
        client: this.grants?.name,
        address: this.address,
      });
      return this.close(TOO_SLOW, "too slow");
    }
    this.socket.send(JSON.stringify(words));
  }
}

function idOf(value: unknown): string | number | undefined {
  const id = typeof value === "object" && value !== null && "id" in value ? value.id : undefined;
  return typeof id === "string" || typeof id === "number" ? id : undefined;
}

function resultOf(error: HubError): Record<string, unknown> {
  return "result" in error.more ? { result: error.more["result"] } : {};
}
