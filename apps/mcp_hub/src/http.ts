/** What every HTTP answer and request has in common: JSON, bounds, errors without stack traces. */

import type { IncomingMessage, ServerResponse } from "node:http";
import { HubError, asHubError, text } from "./errors.js";
import type { Log } from "./log.js";

export function answer(
  response: ServerResponse,
  status: number,
  body: unknown,
  headers: Record<string, string> = {},
): void {
  const payload = Buffer.from(`${JSON.stringify(body)}\n`);
  response.writeHead(status, {
    "Content-Type": "application/json; charset=utf-8",
    "Content-Length": payload.length,
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    ...headers,
  });
  response.end(payload);
}

/** The answer to a failure; what went wrong inside goes to the log only. */
export function refuse(response: ServerResponse, error: unknown, log: Log): void {
  const told = asHubError(error);
  if (told.status === 500)
    log.error("a request broke the hub", {
      error: text(error),
      stack: error instanceof Error ? error.stack : undefined,
    });
  if (response.headersSent) return void response.destroy();
  const { retryAfter, allow, ...more } = told.more;
  const headers: Record<string, string> = {};
  if (told.status === 401) headers["WWW-Authenticate"] = 'Bearer realm="mcp-hub"';
  if (retryAfter !== undefined) headers["Retry-After"] = String(retryAfter);
  if (allow !== undefined) headers["Allow"] = String(allow);
  // The rest of a body that was too big is not read: the connection cannot serve another request.
  if (told.status === 413) headers["Connection"] = "close";
  answer(response, told.status, { error: told.toJSON(), ...more }, headers);
}

/**
 * The request's JSON.
 *
 * @throws HubError 400 not JSON, 413 too big, 415 another type.
 */
export async function body(request: IncomingMessage, most: number): Promise<unknown> {
  const type = request.headers["content-type"]?.split(";")[0]?.trim().toLowerCase();
  if (type !== "application/json") throw new HubError(415, "not_json", "the body must be application/json");
  if (Number(request.headers["content-length"] ?? 0) > most) throw tooBig(most);
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > most) throw tooBig(most);
    chunks.push(chunk);
  }
  return json(Buffer.concat(chunks).toString("utf8"));
}

/** @throws HubError 400. */
export function json(words: string): unknown {
  try {
    return JSON.parse(words);
  } catch {
    throw new HubError(400, "bad_json", "the body is not JSON");
  }
}

function tooBig(most: number): HubError {
  return new HubError(413, "too_big", `the body is longer than ${most} bytes`);
}
