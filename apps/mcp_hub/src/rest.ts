/** The REST side: routes, and who may take them. */

import type { IncomingMessage, ServerResponse } from "node:http";
import { type Doorkeeper, type Grants, bearer } from "./auth.js";
import type { ClientAddress } from "./address.js";
import { HubError } from "./errors.js";
import type { EventBus } from "./events.js";
import { matches } from "./glob.js";
import { answer, body, refuse } from "./http.js";
import type { Log } from "./log.js";
import { serveMcp } from "./mcp.js";
import { callBody, eventBody, shaped } from "./requests.js";
import type { Toolbox } from "./toolbox.js";

export interface Context {
  log: Log;
  bus: EventBus;
  toolbox: Toolbox;
  doorkeeper: Doorkeeper;
  address: ClientAddress;
  bodyBytes: number;
  health: () => unknown;
}

interface Call {
  request: IncomingMessage;
  response: ServerResponse;
  url: URL;
  grants: Grants;
}

type Handler = (context: Context, call: Call, ...parts: string[]) => unknown;

const ROUTES: readonly [RegExp, Partial<Record<"GET" | "POST", Handler>>][] = [
  [/^\/api\/servers$/, { GET: servers }],
  [/^\/api\/tools$/, { GET: tools }],
  [/^\/api\/servers\/([^/]+)\/tools\/(.+)$/, { POST: callTool }],
  [/^\/api\/events$/, { GET: recentEvents, POST: publish }],
  [/^\/mcp$/, { POST: mcp }],
];

/** Answer one request, whatever it is. */
export async function serve(
  context: Context,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  try {
    await route(context, request, response);
  } catch (error) {
    refuse(response, error, context.log);
  }
}

/** The client of a request. @throws HubError 401, 429. */
export function clientOf(context: Context, request: IncomingMessage): Grants {
  const address = addressOf(context, request);
  try {
    return context.doorkeeper.admit(bearer(request.headers.authorization), address);
  } catch (error) {
    context.log.warn("not admitted", { address, path: pathOf(request) });
    throw error;
  }
}

export function addressOf(context: Context, request: IncomingMessage): string {
  const forwarded = request.headers["x-forwarded-for"];
  return context.address.of(
    request.socket.remoteAddress,
    Array.isArray(forwarded) ? forwarded.join(",") : forwarded,
  );
}

export function pathOf(request: IncomingMessage): string {
  return (request.url ?? "/").split("?")[0] ?? "/";
}

async function route(context: Context, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const path = pathOf(request);
  const method = request.method === "HEAD" ? "GET" : request.method;
  if (path === "/health") {
    if (method !== "GET") throw notAllowed("GET");
    return answer(response, 200, context.health());
  }
  const grants = clientOf(context, request);
  const [handlers, parts] = found(path);
  const handler = method === "GET" || method === "POST" ? handlers[method] : undefined;
  if (!handler) throw notAllowed(Object.keys(handlers).join(", "));
  const call = { request, response, url: new URL(request.url ?? "/", "http://hub"), grants };
  const result = await handler(context, call, ...parts);
  if (!response.headersSent) answer(response, 200, result);
}

function found(path: string): [Partial<Record<"GET" | "POST", Handler>>, string[]] {
  for (const [pattern, handlers] of ROUTES) {
    const match = pattern.exec(path);
    if (match) return [handlers, match.slice(1).map(decoded)];
  }
  throw new HubError(404, "unknown_path", "there is nothing here");
}

function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    throw new HubError(400, "bad_request", "the path is not well encoded");
  }
}

function notAllowed(allow: string): HubError {
  return new HubError(405, "method_not_allowed", `only ${allow} here`, { allow });
}

function servers(context: Context, { grants }: Call): unknown {
  grants.need("read");
  return { servers: context.toolbox.servers(grants) };
}

function tools(context: Context, { grants }: Call): unknown {
  grants.need("read");
  return { tools: context.toolbox.tools(grants).map(({ server, tool }) => ({ server, ...tool })) };
}

async function callTool(
  context: Context,
  { request, grants }: Call,
  server = "",
  tool = "",
): Promise<unknown> {
  grants.need("call");
  const { arguments: given } = shaped(callBody, await body(request, context.bodyBytes));
  return { result: await context.toolbox.call(grants, server, tool, given) };
}

function recentEvents(context: Context, { url, grants }: Call): unknown {
  grants.need("read");
  const type = url.searchParams.get("type") ?? "*";
  const limit = Number(url.searchParams.get("limit") ?? 100);
  if (!Number.isInteger(limit) || limit < 1)
    throw new HubError(400, "bad_request", "limit: a whole number from 1 on");
  return {
    events: context.bus
      .recent()
      .filter((event) => matches(type, event.type))
      .slice(-limit),
  };
}

async function publish(context: Context, { request, response, grants }: Call): Promise<void> {
  grants.need("publish");
  const event = shaped(eventBody, await body(request, context.bodyBytes));
  answer(response, 201, { event: context.bus.publish(event.type, event.data, grants.name) });
}

async function mcp(context: Context, { request, response, grants }: Call): Promise<void> {
  await serveMcp(context.toolbox, grants, request, response, await body(request, context.bodyBytes));
}
