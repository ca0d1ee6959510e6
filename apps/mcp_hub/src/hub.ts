/** The hub, put together. */

import { type Server, createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { ClientAddress } from "./address.js";
import { Doorkeeper, FailureLimit } from "./auth.js";
import { EventBus } from "./events.js";
import type { Loaded } from "./load.js";
import type { Log } from "./log.js";
import { MqttBridge } from "./mqtt.js";
import { type Context, serve } from "./rest.js";
import { Toolbox } from "./toolbox.js";
import type { Timing } from "./upstream.js";
import { VERSION } from "./version.js";
import { WebSockets } from "./websocket.js";

export interface HubOptions {
  /** Waits between attempts; for tests. */
  timing?: Timing;
}

export class Hub {
  private readonly bus: EventBus;
  private readonly toolbox: Toolbox;
  private readonly doorkeeper: Doorkeeper;
  private readonly webSockets: WebSockets;
  private readonly server: Server;
  private bridge: MqttBridge | undefined;

  constructor(
    private loaded: Loaded,
    private readonly log: Log,
    private readonly options: HubOptions = {},
  ) {
    const { config, secrets } = loaded;
    log.level = config.logLevel;
    log.hide(secretsIn(loaded));
    this.bus = new EventBus(config.limits.eventsKept, log);
    this.toolbox = new Toolbox(
      config.servers,
      secrets,
      config.limits.concurrentCalls,
      log,
      this.bus,
      options.timing,
    );
    this.doorkeeper = new Doorkeeper(config.clients, new FailureLimit(config.limits.authFailuresPerMinute));
    const context: Context = {
      log,
      bus: this.bus,
      toolbox: this.toolbox,
      doorkeeper: this.doorkeeper,
      address: new ClientAddress(config.trustedProxies),
      bodyBytes: config.limits.bodyBytes,
      health: () => this.health(),
    };
    this.webSockets = new WebSockets(context, config.limits);
    this.server = createServer(
      { headersTimeout: 15_000, requestTimeout: 30_000 },
      (request, response) => void serve(context, request, response),
    );
    this.server.maxConnections = config.limits.webSockets + 500;
    this.server.on("upgrade", (request, socket, head) => this.webSockets.upgrade(request, socket, head));
  }

  /** Listen, then connect to everything; the port that is listened on. @throws Error where it cannot listen. */
  async start(): Promise<number> {
    const { config, secrets } = this.loaded;
    await new Promise<void>((resolve, reject) => {
      this.server.once("error", reject);
      this.server.listen(config.listen.port, config.listen.host, resolve);
    });
    this.toolbox.start();
    if (config.mqtt) {
      this.bridge = new MqttBridge(
        config.mqtt,
        secrets.mqtt?.password,
        config.limits.bodyBytes,
        this.bus,
        this.toolbox,
        this.log,
        this.options.timing?.retry,
      );
    }
    const { port } = this.server.address() as AddressInfo;
    this.log.info("listening", { host: config.listen.host, port, version: VERSION });
    return port;
  }

  /** Take over clients, log level, and the credentials of servers and broker; true when something else changed, which takes a restart. */
  async reload(loaded: Loaded): Promise<boolean> {
    const rest = ({ config }: Loaded) => JSON.stringify({ ...config, clients: 0, logLevel: 0 });
    const more = rest(loaded) !== rest(this.loaded);
    this.log.level = loaded.config.logLevel;
    // The old secrets too: the servers' last words may still quote them.
    this.log.hide([...secretsIn(this.loaded), ...secretsIn(loaded)]);
    this.loaded = {
      config: { ...this.loaded.config, clients: loaded.config.clients, logLevel: loaded.config.logLevel },
      secrets: loaded.secrets,
    };
    this.doorkeeper.replace(loaded.config.clients);
    this.webSockets.recheck();
    this.bridge?.renew(loaded.secrets.mqtt?.password);
    await this.toolbox.renew(loaded.secrets);
    return more;
  }

  async stop(): Promise<void> {
    this.webSockets.stop();
    const closed = new Promise<void>((resolve) => this.server.close(() => resolve()));
    this.server.closeIdleConnections();
    const hurry = setTimeout(() => this.server.closeAllConnections(), 3000);
    await this.bridge?.stop();
    await closed;
    clearTimeout(hurry);
    await this.toolbox.stop();
  }

  /** `degraded` when the hub works and something behind it does not. */
  private health(): unknown {
    const servers = Object.fromEntries(this.toolbox.states().map(({ name, ...rest }) => [name, rest]));
    const mqtt = this.bridge ? { state: this.bridge.state, since: this.bridge.since.toISOString() } : null;
    const states = [...Object.values(servers), ...(mqtt ? [mqtt] : [])].map(({ state }) => state);
    return {
      status: states.every((state) => state === "connected") ? "ok" : "degraded",
      version: VERSION,
      uptimeSeconds: Math.round(process.uptime()),
      servers,
      mqtt,
    };
  }
}

function secretsIn({ secrets }: Loaded): string[] {
  const ofServers = Object.values(secrets.servers).flatMap(({ token, env }) => [
    token ?? "",
    ...Object.values(env ?? {}),
  ]);
  return [...ofServers, secrets.mqtt?.password ?? ""];
}
