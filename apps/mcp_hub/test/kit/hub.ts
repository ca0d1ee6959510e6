/** A hub in this process, and clients of it. */

import { createHash } from "node:crypto";
import { atEnd } from "./cleanup.js";
import { configSchema, secretsSchema } from "../../src/config.js";
import { Hub } from "../../src/hub.js";
import type { Loaded } from "../../src/load.js";
import { Log } from "../../src/log.js";
import type { Timing } from "../../src/upstream.js";
import { until } from "./poll.js";

export const sha256 = (token: string) => createHash("sha256").update(token).digest("hex");

export const CLIENTS = {
  admin: { tokenSha256: sha256("admin-token"), scopes: ["read", "call", "publish"] },
  reader: { tokenSha256: sha256("reader-token"), scopes: ["read"] },
  caller: { tokenSha256: sha256("caller-token"), scopes: ["call"] },
  lamp: { tokenSha256: sha256("lamp-token"), scopes: ["read", "call"], tools: ["home/intent__*"] },
};
export const QUICK: Timing = { retry: [20, 100], refused: [20, 50] };

export function loaded(config: object = {}, secrets: object = {}): Loaded {
  return {
    config: configSchema.parse({ listen: { port: 0 }, clients: CLIENTS, logLevel: "debug", ...config }),
    secrets: secretsSchema.parse(secrets),
  };
}

export interface Answer {
  status: number;
  headers: Headers;
  text: string;
  // What the hub answers is looked into field by field.
  json: any;
}

export class TestHub {
  readonly lines: string[] = [];
  readonly hub: Hub;
  port = 0;

  constructor(config: object = {}, secrets: object = {}, timing: Timing = QUICK) {
    this.hub = new Hub(loaded(config, secrets), new Log("debug", (line) => this.lines.push(line)), {
      timing,
    });
    atEnd(() => this.hub.stop());
  }

  async start(): Promise<this> {
    this.port = await this.hub.start();
    return this;
  }

  async ask(
    method: string,
    path: string,
    options: { token?: string; body?: unknown; headers?: Record<string, string> } = {},
  ): Promise<Answer> {
    const { token = "admin-token", body, headers } = options;
    const response = await fetch(`http://127.0.0.1:${this.port}${path}`, {
      method,
      headers: {
        ...(token ? { Authorization: `Bearer ${token}` } : {}),
        ...(body === undefined ? {} : { "Content-Type": "application/json" }),
        ...headers,
      },
      ...(body === undefined ? {} : { body: typeof body === "string" ? body : JSON.stringify(body) }),
    });
    const text = await response.text();
    return {
      status: response.status,
      headers: response.headers,
      text,
      json: text ? JSON.parse(text) : undefined,
    };
  }

  call(tool: string, args: unknown = {}, token = "admin-token"): Promise<Answer> {
    return this.ask("POST", `/api/servers/${tool.replace("/", "/tools/")}`, {
      token,
      body: { arguments: args },
    });
  }

  async state(server: string): Promise<string> {
    return (await this.ask("GET", "/health", { token: "" })).json.servers[server].state;
  }

  /** Wait until the server (or `mqtt`) is in this state. */
  async reaches(server: string, state: string): Promise<void> {
    const health = async () => (await this.ask("GET", "/health", { token: "" })).json;
    await until(
      async () =>
        (server === "mqtt" ? (await health()).mqtt : (await health()).servers[server]).state === state,
      `${server} ${state}`,
    );
  }
}
