/** The two ways to an MCP server: Streamable HTTP, or a program's stdin and stdout. */

import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";
import { StdioClientTransport } from "@modelcontextprotocol/sdk/client/stdio.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import type { Transport } from "@modelcontextprotocol/sdk/shared/transport.js";
import { Agent, fetch as undiciFetch } from "undici";
import type { HttpServerConfig, Secrets, ServerConfig, StdioServerConfig } from "./config.js";
import type { Log } from "./log.js";

export type ServerSecrets = Secrets["servers"][string];

export interface Way {
  transport: Transport;
  /** Take leave of the server (best effort) and let all connections go. */
  close(): Promise<void>;
}

const MOST_ANSWER = 16 * 1024 * 1024; // bytes; a server gone mad must not fill our memory
const SLACK = 5000; // ms after the protocol's own time limit, which tells more

export function wayTo(name: string, config: ServerConfig, secrets: ServerSecrets, log: Log): Way {
  return config.type === "http" ? overHttp(config, secrets) : overStdio(name, config, secrets, log);
}

function overHttp(config: HttpServerConfig, secrets: ServerSecrets): Way {
  // Node's own fetch takes no authority of our own; the agent does, for this server alone.
  const agent = new Agent({
    connect: {
      timeout: 10_000,
      ...(config.caFile === undefined ? {} : { ca: readFileSync(config.caFile, "utf8") }),
    },
    headersTimeout: 0,
    bodyTimeout: 0,
    maxResponseSize: MOST_ANSWER,
  });
  const limited = (url: string | URL, init: RequestInit = {}): Promise<Response> => {
    const signals = init.signal ? [init.signal] : [];
    // A GET is the server's open channel to us; everything else has to end.
    if (init.method === "POST") signals.push(AbortSignal.timeout(config.timeoutSeconds * 1000 + SLACK));
    const request = { ...init, signal: AbortSignal.any(signals), dispatcher: agent };
    return undiciFetch(url, request as never) as unknown as Promise<Response>;
  };
  const headers: Record<string, string> =
    secrets.token === undefined ? {} : { Authorization: `Bearer ${secrets.token}` };
  const transport = new StreamableHTTPClientTransport(new URL(config.url), {
    fetch: limited,
    requestInit: { headers },
  });
  return {
    // The SDK's class allows an undefined session id where its interface does not say so.
    transport: transport as Transport,
    close: async () => {
      if (transport.sessionId !== undefined) await within(1000, transport.terminateSession());
      await transport.close();
      await agent.destroy();
    },
  };
}

function overStdio(name: string, config: StdioServerConfig, secrets: ServerSecrets, log: Log): Way {
  const transport = new StdioClientTransport({
    command: config.command,
    args: config.args,
    env: { ...config.env, ...secrets.env },
    stderr: "pipe",
    ...(config.cwd === undefined ? {} : { cwd: config.cwd }),
  });
  const lines = createInterface({ input: transport.stderr as Readable });
  lines.on("line", (line) => log.debug("a server's own words", { server: name, line: line.slice(0, 1000) }));
  return { transport, close: () => transport.close() };
}

async function within(milliseconds: number, work: Promise<unknown>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const limit = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, milliseconds);
  });
  await Promise.race([work.catch(() => undefined), limit]);
  clearTimeout(timer);
}
