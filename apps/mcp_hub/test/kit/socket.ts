import { atEnd } from "./cleanup.js";
import { WebSocket } from "ws";
import { until } from "./poll.js";

type Heard = any;

/** A WebSocket client that keeps all it hears. */
export class Socket {
  readonly heard: Heard[] = [];
  closed: { code: number; reason: string } | undefined;
  refused: number | undefined;
  readonly socket: WebSocket;

  constructor(port: number, token?: string, path = "/ws") {
    const headers: Record<string, string> = token === undefined ? {} : { Authorization: `Bearer ${token}` };
    this.socket = new WebSocket(`ws://127.0.0.1:${port}${path}`, { headers });
    this.socket.on("message", (data) => this.heard.push(JSON.parse(String(data))));
    this.socket.on("close", (code, reason) => {
      this.closed = { code, reason: String(reason) };
    });
    this.socket.on("unexpected-response", (_request, response) => {
      this.refused = response.statusCode;
      response.resume();
    });
    this.socket.on("error", () => undefined);
    atEnd(() => this.socket.terminate());
  }

  /** Connected and admitted with this token in the header. */
  static async open(port: number, token = "admin-token"): Promise<Socket> {
    const socket = new Socket(port, token);
    await socket.hears((one) => one.type === "auth_ok");
    return socket;
  }

  async opened(): Promise<this> {
    await until(() => this.socket.readyState === WebSocket.OPEN, "the WebSocket opens");
    return this;
  }

  say(words: unknown): void {
    this.socket.send(typeof words === "string" ? words : JSON.stringify(words));
  }

  hears(fits: (one: Heard) => boolean): Promise<Heard> {
    return until(() => this.heard.find(fits), "a message");
  }

  async asks(words: { id: string | number; [field: string]: unknown }): Promise<Heard> {
    this.say(words);
    return this.hears((one) => one.id === words.id && one.type !== "event");
  }
}
