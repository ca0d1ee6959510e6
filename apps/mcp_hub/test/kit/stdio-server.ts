/** A program that is an MCP server on stdin and stdout; the tool `die` ends it, `env` tells a variable. */

import { McpServer } from "@modelcontextprotocol/sdk/server/mcp.js";
import { StdioServerTransport } from "@modelcontextprotocol/sdk/server/stdio.js";
import { z } from "zod";

const server = new McpServer({ name: "stdio", version: "1" });
server.registerTool("env", { inputSchema: { name: z.string() } }, ({ name }) => ({
  content: [{ type: "text", text: process.env[name] ?? "(unset)" }],
}));
server.registerTool("pid", {}, () => ({ content: [{ type: "text", text: String(process.pid) }] }));
server.registerTool("die", {}, () => process.exit(3));
await server.connect(new StdioServerTransport());
