/** What an error of the MCP client means for who asked, and for the connection. */

import { StreamableHTTPError } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import { ErrorCode, McpError } from "@modelcontextprotocol/sdk/types.js";
import { text } from "./errors.js";

export interface Failure {
  /** HTTP status for who asked. */
  status: number;
  code: string;
  message: string;
  /** The server is gone. */
  lost?: boolean;
  /** The server does not take our credentials. */
  refused?: boolean;
  /** The server rejected our session before it did anything: a new session may do. */
  retry?: boolean;
}

export function failureOf(error: unknown): Failure {
  if (error instanceof StreamableHTTPError) return ofHttp(error);
  if (error instanceof McpError) return ofProtocol(error);
  if (error instanceof Error && error.name === "TimeoutError")
    return { status: 504, code: "timeout", message: "took too long", lost: true };
  return { status: 502, code: "server_down", message: text(error), lost: true };
}

function ofHttp(error: StreamableHTTPError): Failure {
  const message = `HTTP ${error.code}: ${text(error)}`;
  if (error.code === 401 || error.code === 403)
    return { status: 502, code: "credentials_refused", message, refused: true };
  if (error.code === 404) return { status: 502, code: "server_error", message, retry: true };
  return { status: 502, code: "server_error", message, lost: (error.code ?? 0) >= 500 };
}

function ofProtocol(error: McpError): Failure {
  const message = text(error);
  if (error.code === ErrorCode.RequestTimeout)
    return { status: 504, code: "timeout", message: "took too long" };
  if (error.code === ErrorCode.ConnectionClosed)
    return { status: 502, code: "server_down", message, lost: true };
  if (error.code === ErrorCode.InvalidParams) return { status: 400, code: "bad_arguments", message };
  return { status: 502, code: "server_error", message };
}
