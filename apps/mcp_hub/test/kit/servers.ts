/** Real MCP servers, made with the official SDK, on loopback. */

import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { type IncomingMessage, type Server, type ServerResponse, createServer } from "node:http";
import { createServer as createTlsServer } from "node:https";
import { atEnd } from "./cleanup.js";
import { setTimeout as sleep } from "node:timers/promises";
import { McpServer } from "@modelcontextprotocol/sdk/server/mcp.js";
import { StreamableHTTPServerTransport } from "@modelcontextprotocol/sdk/server/streamableHttp.js";
import type { Transport } from "@modelcontextprotocol/sdk/shared/transport.js";
import { z } from "zod";
import { type Certificates, freePort } from "./files.js";

export const HA_TOKEN = "long-lived-token-of-home-assistant";

/** A server with tools that tell whether they ran. */
export function tools(ran: unknown[] = []): McpServer {
  const server = new McpServer({ name: "fixture", version: "1" });
  const said = (text: string) => ({ content: [{ type: "text" as const, text }] });
  const lamp = { inputSchema: { name: z.string(), brightness: z.number().int().min(0).max(100).optional() } };
  server.registerTool("intent__HassTurnOn", lamp, (args) => {
    ran.push(args);
    return said(`on: ${args.name}`);
  });
  server.registerTool("slow", { inputSchema: { ms: z.number() } }, async ({ ms }) => {
    await sleep(ms);
    return said("done");
  });
  server.registerTool("fail", {}, () => ({ ...said("the bulb is broken"), isError: true }));
  server.registerTool("secret", {}, () => said("42"));
  return server;
}

/** An HTTP server on a port of its own that can die and return. */
export abstract class Fixture {
  port = 0;
  readonly seen: { method: string; accept: string; authorization: string; mcp: string }[] = [];
  private server: Server | undefined;

  constructor(private readonly tls?: Certificates) {
    atEnd(() => this.stop());
  }

  get url(): string {
    return `${this.tls ? "https" : "http"}://127.0.0.1:${this.port}/api/mcp`;
  }

  async start(): Promise<this> {
    this.port ||= await freePort();
    const serve = (request: IncomingMessage, response: ServerResponse) => {
      this.answer(request, response).catch(() => response.destroy());
    };
    this.server = this.tls
      ? createTlsServer({ cert: readFileSync(this.tls.cert), key: readFileSync(this.tls.key) }, serve)
      : createServer(serve);
    await new Promise<void>((resolve) => this.server?.listen(this.port, "127.0.0.1", resolve));
    return this;
  }

  async stop(): Promise<void> {
    const server = this.server;
    this.server = undefined;
    if (!server) return;
    const closed = new Promise((resolve) => server.close(resolve));
    server.closeAllConnections();
    await closed;
  }

  private async answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk);
    const body: unknown = chunks.length ? JSON.parse(Buffer.concat(chunks).toString()) : undefined;
    const mcp = typeof body === "object" && body !== null && "method" in body ? String(body.method) : "";
    const { accept = "", authorization = "" } = request.headers;
    this.seen.push({ method: request.method ?? "", accept, authorization, mcp });
    await this.handle(request, response, body);
  }

  protected abstract handle(request: IncomingMessage, response: ServerResponse, body: unknown): Promise<void>;
}

/** Keeps to the rules of Home Assistant's mcp_server: stateless, bearer, `Accept`, no GET. Its tools are a stand-in's. */
export class LikeHomeAssistant extends Fixture {
  readonly ran: unknown[] = [];
  /** Answers with this instead of working. */
  broken: number | undefined;
  token = HA_TOKEN;

  protected async handle(request: IncomingMessage, response: ServerResponse, body: unknown): Promise<void> {
    const refuse = (status: number, words: string) =>
      void response.writeHead(status, { "Content-Type": "text/plain" }).end(words);
    if (request.method !== "POST") return refuse(405, "405: Method Not Allowed");
    if (request.headers.authorization !== `Bearer ${this.token}`) {
      return refuse(401, `401: Unauthorized (${request.headers.authorization})`);
    }
    if (!request.headers.accept?.includes("application/json"))
      return refuse(400, "Client must accept application/json");
    if (this.broken !== undefined) return refuse(this.broken, "no");
    const server = tools(this.ran);
    const transport = new StreamableHTTPServerTransport({ enableJsonResponse: true });
    response.on("close", () => void server.close());
    await server.connect(transport as Transport);
    await transport.handleRequest(request, response, body);
  }
}

/** Keeps sessions, answers in SSE streams, and has an open channel to the client. */
export class WithSessions extends Fixture {
  readonly ran: unknown[] = [];
  private readonly sessions = new Map<
    string,
    { transport: StreamableHTTPServerTransport; server: McpServer }
  >();

  /** Forget all sessions, as a restart would. */
  forget(): void {
    this.sessions.clear();
  }

  /** One more tool, and the news of it. */
  addTool(name: string): void {
    for (const { server } of this.sessions.values()) server.registerTool(name, {}, () => ({ content: [] }));
  }

  protected async handle(request: IncomingMessage, response: ServerResponse, body: unknown): Promise<void> {
    const id = request.headers["mcp-session-id"];
    const known = typeof id === "string" ? this.sessions.get(id) : undefined;
    if (known) return known.transport.handleRequest(request, response, body);
    if (id !== undefined) return void response.writeHead(404).end("Session not found");
    const server = tools(this.ran);
    const transport = new StreamableHTTPServerTransport({
      sessionIdGenerator: randomUUID,
      onsessioninitialized: (session) => void this.sessions.set(session, { transport, server }),
    });
    await server.connect(transport as Transport);
    await transport.handleRequest(request, response, body);
  }
}
