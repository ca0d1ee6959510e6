/** A real Mosquitto on loopback. */

import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { connect as connectTcp } from "node:net";
import { join } from "node:path";
import { atEnd } from "./cleanup.js";
import { type IClientOptions, type MqttClient, connectAsync } from "mqtt";
import { type Certificates, folder, freePort, put } from "./files.js";
import { until } from "./poll.js";

export interface Heard {
  topic: string;
  text: string;
  properties: any;
  retain: boolean;
}

const PROGRAM = ["/usr/sbin/mosquitto", "/usr/local/sbin/mosquitto"].find(existsSync) ?? "mosquitto";

export class Broker {
  port = 0;
  private readonly at = folder();
  private process: ChildProcess | undefined;

  /** @param tls with it, the listener speaks TLS. */
  constructor(private readonly tls?: Certificates) {
    atEnd(() => this.stop());
  }

  get url(): string {
    return `${this.tls ? "mqtts" : "mqtt"}://127.0.0.1:${this.port}`;
  }

  /** @param users names and passwords; none: anybody may come. */
  async start(users: Record<string, string> = {}): Promise<this> {
    this.port ||= await freePort();
    const lines = [`listener ${this.port} 127.0.0.1`, "user root", "persistence false", "log_type none"];
    if (this.tls) lines.push(`certfile ${this.tls.cert}`, `keyfile ${this.tls.key}`);
    const passwords = put(join(this.at, "passwords"), "");
    for (const [name, password] of Object.entries(users))
      execFileSync("mosquitto_passwd", ["-b", passwords, name, password], { stdio: "pipe" });
    lines.push(Object.keys(users).length ? `password_file ${passwords}` : "allow_anonymous true");
    this.process = spawn(PROGRAM, ["-c", put(join(this.at, "conf"), `${lines.join("\n")}\n`)], {
      stdio: "ignore",
    });
    await until(() => answers(this.port), "the broker answers");
    return this;
  }

  async stop(): Promise<void> {
    const child = this.process;
    this.process = undefined;
    if (!child || child.exitCode !== null) return;
    const ended = new Promise((resolve) => child.once("exit", resolve));
    child.kill("SIGKILL");
    await ended;
  }

  /** A client that hears everything below these filters. */
  async listener(
    filters: string[],
    options: IClientOptions = {},
  ): Promise<{ client: MqttClient; heard: Heard[] }> {
    const heard: Heard[] = [];
    const client = await connectAsync(`mqtt://127.0.0.1:${this.port}`, {
      protocolVersion: 5,
      reconnectPeriod: 50,
      ...options,
    });
    client.on("message", (topic, payload, { properties, retain }) =>
      heard.push({ topic, text: String(payload), properties, retain }),
    );
    client.on("error", () => undefined);
    await client.subscribeAsync(filters, { qos: 1 });
    atEnd(() => client.end(true));
    return { client, heard };
  }
}

function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connectTcp(port, "127.0.0.1", () => resolve(true));
    socket.on("error", () => resolve(false));
    socket.on("connect", () => socket.destroy());
  });
}
