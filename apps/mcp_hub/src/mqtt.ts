/** The event bus and the tools on MQTT; README.md lists the topics. */

import { readFileSync } from "node:fs";
import { hostname } from "node:os";
import { type IClientOptions, type IPublishPacket, type MqttClient, connect } from "mqtt";
import { Grants } from "./auth.js";
import { Backoff } from "./backoff.js";
import type { MqttConfig } from "./config.js";
import { HubError, asHubError, text } from "./errors.js";
import { type EventBus, type HubEvent, RESERVED, isType } from "./events.js";
import { matches } from "./glob.js";
import { json } from "./http.js";
import type { Log } from "./log.js";
import { mqttCall, shaped } from "./requests.js";
import type { Toolbox } from "./toolbox.js";

export const SOURCE = "mqtt";
const ID = /^[A-Za-z0-9_-]{1,64}$/;
const RETRY: [number, number] = [500, 30_000]; // ms
const MOST_CALLS = 32;

type Properties = NonNullable<IPublishPacket["properties"]>;

export class MqttBridge {
  state: "connecting" | "connected" | "down" | "stopped" = "connecting";
  since = new Date();
  private readonly client: MqttClient;
  private readonly grants: Grants;
  private readonly retry: Backoff;
  private readonly waiting: HubEvent[] = [];
  private readonly unlisten: () => void;
  private calls = 0;

  constructor(
    private readonly config: MqttConfig,
    password: string | undefined,
    private readonly most: number,
    private readonly bus: EventBus,
    private readonly toolbox: Toolbox,
    private readonly log: Log,
    retry: [number, number] = RETRY,
  ) {
    this.grants = new Grants(SOURCE, config.scopes, config.tools);
    this.retry = new Backoff(...retry);
    this.client = connect(config.url, this.options(password));
    this.client.on("connect", () => void this.connected());
    this.client.on("message", (topic, payload, packet) => this.received(topic, payload, packet));
    this.client.on("error", (error) => this.lost(text(error)));
    this.client.on("close", () => {
      this.lost("the connection closed");
      // The client reads this before each wait: it counts from the next one on.
      this.client.options.reconnectPeriod = this.retry.next();
    });
    this.unlisten = bus.listen((event) => this.happened(event));
  }

  /** A new password. A connection that stands is left alone: the broker ends it when it no longer holds. */
  renew(password: string | undefined): void {
    if (password === this.client.options.password) return;
    if (password === undefined) delete this.client.options.password;
    else this.client.options.password = password;
    this.retry.reset();
    if (this.state === "down") this.client.reconnect();
  }

  /** Say goodbye (the broker tells the last will only of those who do not). */
  async stop(): Promise<void> {
    this.unlisten();
    if (this.state === "connected") {
      await Promise.race([
        this.client
          .publishAsync(this.topic("status"), "offline", { qos: 1, retain: true })
          .catch(() => undefined),
        wait(1000),
      ]);
    }
    this.become("stopped");
    await Promise.race([this.client.endAsync(false).catch(() => undefined), wait(1000)]);
    this.client.end(true);
  }

  private options(password: string | undefined): IClientOptions {
    const { username, caFile, clientId } = this.config;
    return {
      protocolVersion: 5,
      clean: true,
      clientId: clientId ?? `${this.config.prefix.replaceAll("/", "_")}-${hostname()}`,
      connectTimeout: 10_000,
      keepalive: 30,
      reconnectPeriod: this.retry.next(),
      // After a power cut the broker may be up before it knows our password.
      reconnectOnConnackError: true,
      resubscribe: false,
      queueQoSZero: false,
      will: { topic: this.topic("status"), payload: Buffer.from("offline"), qos: 1, retain: true },
      ...(username === undefined ? {} : { username }),
      ...(password === undefined ? {} : { password }),
      ...(caFile === undefined ? {} : { ca: readFileSync(caFile) }),
    };
  }

  private topic(rest: string): string {
    return `${this.config.prefix}/${rest}`;
  }

  private async connected(): Promise<void> {
    try {
      // `nl`: what we publish is not sent back to us. `rh: 2`: no retained messages, they are no news.
      const options = { qos: 1, nl: true, rh: 2 } as const;
      const filters = [...(this.may("publish") ? ["events/#"] : []), ...(this.may("call") ? ["call/#"] : [])];
      if (filters.length > 0)
        await this.client.subscribeAsync(
          filters.map((one) => this.topic(one)),
          options,
        );
      await this.client.publishAsync(this.topic("status"), "online", { qos: 1, retain: true });
    } catch (error) {
      this.lost(`the broker refuses our subscriptions or our status: ${text(error)}`);
      return void setTimeout(() => this.client.connected && void this.connected(), this.retry.next()).unref();
    }
    this.retry.reset();
    this.client.options.reconnectPeriod = this.retry.next();
    this.become("connected");
    for (const event of this.waiting.splice(0)) this.publish(event);
  }

  private lost(why: string): void {
    if (this.state === "stopped") return;
    this.become("down", this.log.clean(why));
  }

  private may(scope: "read" | "call" | "publish"): boolean {
    return this.grants.scopes.includes(scope);
  }

  /** An event of ours goes out, one that came from there does not go back. */
  private happened(event: HubEvent): void {
    if (event.source === SOURCE || !this.may("read")) return;
    if (this.state === "connected") return this.publish(event);
    this.waiting.push(event);
    if (this.waiting.length > this.config.queue) this.waiting.shift();
  }

  private publish({ id, type, data, time, source }: HubEvent): void {
    const userProperties = { id, time, source };
    this.send(this.topic(`events/${type}`), data, { userProperties });
  }

  private send(topic: string, value: unknown, properties: Properties): void {
    const options = { qos: 1, properties: { contentType: "application/json", ...properties } } as const;
    this.client.publish(topic, JSON.stringify(value), options, (error) => {
      if (error) this.log.warn("a message did not reach the broker", { topic, error: text(error) });
    });
  }

  private received(topic: string, payload: Buffer, packet: IPublishPacket): void {
    if (packet.retain) return;
    if (payload.length > this.most)
      return this.log.warn("a message is too big", { topic, bytes: payload.length });
    const events = this.topic("events/");
    const calls = this.topic("call/");
    if (topic.startsWith(events)) this.event(topic.slice(events.length), payload, packet.properties);
    else if (topic.startsWith(calls)) void this.call(topic.slice(calls.length), payload, packet.properties);
  }

  private event(type: string, payload: Buffer, properties: Properties | undefined): void {
    if (!isType(type) || type.startsWith(RESERVED)) return this.log.warn("not an event's type", { type });
    const given = properties?.userProperties?.["id"];
    const id = typeof given === "string" && ID.test(given) ? given : undefined;
    // Over a chain of bridged brokers our own may come back after all.
    if (id !== undefined && this.bus.has(id)) return;
    this.bus.emit(type, parsed(payload), SOURCE, id);
  }

  private async call(path: string, payload: Buffer, properties: Properties | undefined): Promise<void> {
    let id: string | undefined;
    let answer: Record<string, unknown>;
    try {
      const request = shaped(mqttCall, payload.length === 0 ? {} : json(payload.toString("utf8")));
      id = request.id;
      answer = { ok: true, result: await this.run(path, request.arguments) };
    } catch (error) {
      const told = asHubError(error);
      answer = { ok: false, error: { ...told.toJSON(), status: told.status } };
      if (told.status === 500) this.log.error("a call over MQTT broke the hub", { error: text(error) });
    }
    this.reply(id, answer, properties);
  }

  private async run(path: string, args: Record<string, unknown>): Promise<unknown> {
    const at = path.indexOf("/");
    if (at < 1) throw new HubError(404, "unknown_tool", "the topic is not call/SERVER/TOOL");
    if (this.calls >= MOST_CALLS) throw new HubError(503, "busy", `at most ${MOST_CALLS} calls at once`);
    this.calls += 1;
    try {
      return await this.toolbox.call(this.grants, path.slice(0, at), path.slice(at + 1), args);
    } finally {
      this.calls -= 1;
    }
  }

  private reply(
    id: string | undefined,
    answer: Record<string, unknown>,
    properties: Properties | undefined,
  ): void {
    const asked = properties?.responseTopic;
    const topic =
      asked !== undefined && this.mayReplyOn(asked)
        ? asked
        : id === undefined
          ? undefined
          : this.topic(`result/${id}`);
    if (topic === undefined) return this.log.debug("a call over MQTT wants no answer", { asked });
    const { correlationData } = properties ?? {};
    this.send(
      topic,
      { ...(id === undefined ? {} : { id }), ...answer },
      correlationData === undefined ? {} : { correlationData },
    );
  }

  /** We publish with our rights where others ask us to: only where the configuration lets them. */
  private mayReplyOn(topic: string): boolean {
    const allowed = [this.topic("result/*"), ...this.config.responseTopics];
    const fine = !/[#+\0]/.test(topic) && allowed.some((pattern) => matches(pattern, topic));
    if (!fine) this.log.warn("a response topic is not allowed", { topic });
    return fine;
  }

  private become(state: MqttBridge["state"], error?: string): void {
    if (state === this.state) return;
    this.state = state;
    this.since = new Date();
    const fields = { state, ...(error === undefined ? {} : { error }) };
    if (state === "down") this.log.warn("broker", fields);
    else this.log.info("broker", fields);
  }
}

/** JSON where it is JSON, the plain words where it is not. */
function parsed(payload: Buffer): unknown {
  const words = payload.toString("utf8");
  try {
    return JSON.parse(words);
  } catch {
    return words;
  }
}

function wait(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds).unref());
}
