/** WebSockets at /ws: clients in, their number bounded, the dead and the slow ones out. */

import type { IncomingMessage } from "node:http";
import type { Duplex } from "node:stream";
import { type WebSocket, WebSocketServer } from "ws";
import type { Limits } from "./config.js";
import { HubError, asHubError } from "./errors.js";
import { Connection } from "./connection.js";
import { type Context, addressOf, clientOf, pathOf } from "./rest.js";

export const PATH = "/ws";

export class WebSockets {
  private readonly server: WebSocketServer;
  private readonly connections = new Set<Connection>();
  private readonly heartbeat: NodeJS.Timeout;

  constructor(
    private readonly context: Context,
    private readonly limits: Limits,
  ) {
    this.server = new WebSocketServer({
      noServer: true,
      maxPayload: limits.bodyBytes,
      perMessageDeflate: false,
    });
    this.heartbeat = setInterval(() => {
      for (const connection of this.connections) connection.beat();
    }, limits.webSocketPingSeconds * 1000);
  }

  /** Take an HTTP connection over, or refuse it in HTTP's words. */
  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    socket.on("error", () => socket.destroy());
    try {
      if (pathOf(request) !== PATH) throw new HubError(404, "unknown_path", "there is no WebSocket here");
      if (this.connections.size >= this.limits.webSockets)
        throw new HubError(503, "busy", "too many WebSockets");
      // A wrong token in the header is refused here; without a header the first message has to bring one.
      const grants =
        request.headers.authorization === undefined ? undefined : clientOf(this.context, request);
      this.server.handleUpgrade(request, socket, head, (webSocket) =>
        this.opened(webSocket, request, grants),
      );
    } catch (error) {
      const told = asHubError(error);
      const body = `${JSON.stringify({ error: told })}\n`;
      socket.end(
        `HTTP/1.1 ${told.status} Refused\r\nContent-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`,
      );
    }
  }

  /** Close the connections of clients whose token is no longer valid, or whose rights changed: they come again. */
  recheck(): void {
    for (const connection of this.connections) connection.recheck();
  }

  stop(): void {
    clearInterval(this.heartbeat);
    for (const connection of this.connections) connection.close(1001, "the hub stops");
    this.server.close();
  }

  private opened(
    webSocket: WebSocket,
    request: IncomingMessage,
    grants: ReturnType<typeof clientOf> | undefined,
  ): void {
    const token = grants === undefined ? undefined : request.headers.authorization;
    const connection = new Connection(
      webSocket,
      this.context,
      this.limits,
      addressOf(this.context, request),
      () => this.connections.delete(connection),
    );
    this.connections.add(connection);
    if (grants && token) connection.admit(grants, token);
  }
}
