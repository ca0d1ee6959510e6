/** The hub as an MCP server itself: every server's tools as `server__tool`; stateless, JSON answers. */

import type { IncomingMessage, ServerResponse } from "node:http";
import { Server } from "@modelcontextprotocol/sdk/server/index.js";
import { StreamableHTTPServerTransport } from "@modelcontextprotocol/sdk/server/streamableHttp.js";
import type { Transport } from "@modelcontextprotocol/sdk/shared/transport.js";
import {
  CallToolRequestSchema,
  type CallToolResult,
  ListToolsRequestSchema,
} from "@modelcontextprotocol/sdk/types.js";
import type { Grants } from "./auth.js";
import { HubError, asHubError } from "./errors.js";
import type { Toolbox } from "./toolbox.js";
import { VERSION } from "./version.js";

const JOINT = "__";

/** Answer one request of an MCP client. */
export async function serveMcp(
  toolbox: Toolbox,
  grants: Grants,
  request: IncomingMessage,
  response: ServerResponse,
  body: unknown,
): Promise<void> {
  const server = new Server({ name: "mcp-hub", version: VERSION }, { capabilities: { tools: {} } });
  server.setRequestHandler(ListToolsRequestSchema, () => {
    grants.need("read");
    return {
      tools: toolbox
        .tools(grants)
        .map(({ server: from, tool }) => ({ ...tool, name: `${from}${JOINT}${tool.name}` })),
    };
  });
  server.setRequestHandler(CallToolRequestSchema, ({ params }) =>
    called(toolbox, grants, params.name, params.arguments ?? {}),
  );
  const transport = new StreamableHTTPServerTransport({ enableJsonResponse: true });
  response.on("close", () => void server.close());
  await server.connect(transport as Transport);
  await transport.handleRequest(request, response, body);
}

/** A refusal is the tool's result here: a model shall read it and do better. */
async function called(
  toolbox: Toolbox,
  grants: Grants,
  name: string,
  args: Record<string, unknown>,
): Promise<CallToolResult> {
  const at = name.indexOf(JOINT);
  try {
    return await toolbox.call(
      grants,
      at < 0 ? name : name.slice(0, at),
      at < 0 ? "" : name.slice(at + JOINT.length),
      args,
    );
  } catch (error) {
    if (error instanceof HubError && error.code === "tool_failed")
      return error.more["result"] as CallToolResult;
    return { content: [{ type: "text", text: asHubError(error).message }], isError: true };
  }
}
