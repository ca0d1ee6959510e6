/** The shape of the configuration file. What each field is for stands in README.md. */

import { z } from "zod";
import { LEVELS } from "./log.js";

export const SCOPES = ["read", "call", "publish"] as const;
export type Scope = (typeof SCOPES)[number];

// No double underscore: `/mcp` joins server and tool with one.
const NAME = /^[a-z0-9]+([_-][a-z0-9]+)*$/;
const LOOPBACK = /^(127\.\d{1,3}\.\d{1,3}\.\d{1,3}|::1|localhost)$/;
const PREFIX = /^[A-Za-z0-9_.-]+(\/[A-Za-z0-9_.-]+)*$/;

const name = z.string().regex(NAME);
const path = z.string().startsWith("/");
const seconds = (most: number) => z.number().positive().max(most);
const count = (least: number, most: number) => z.number().int().min(least).max(most);
const port = (least: number) => count(least, 65535);

const common = {
  timeoutSeconds: seconds(600).default(30),
  refreshSeconds: seconds(3600).default(60),
};

const httpServer = z.strictObject({
  type: z.literal("http"),
  url: z.url({ protocol: /^https?$/ }),
  caFile: path.optional(),
  plainHttp: z.boolean().default(false),
  ...common,
});

const stdioServer = z.strictObject({
  type: z.literal("stdio"),
  command: path,
  args: z.array(z.string()).default([]),
  cwd: path.optional(),
  env: z.record(z.string(), z.string()).default({}),
  ...common,
});

const scopes = z.array(z.enum(SCOPES)).min(1);
const tools = z.array(z.string().regex(/^[^/]+\/.+$/)).min(1);
const hash = z.string().regex(/^[0-9a-f]{64}$/);

const client = z.strictObject({
  tokenSha256: z.union([hash, z.array(hash).min(1)]).transform((one) => (Array.isArray(one) ? one : [one])),
  scopes,
  tools: tools.optional(),
});

const mqtt = z.strictObject({
  url: z.url({ protocol: /^mqtts?$/ }),
  username: z.string().min(1).optional(),
  caFile: path.optional(),
  plainMqtt: z.boolean().default(false),
  clientId: z
    .string()
    .regex(/^[A-Za-z0-9_.-]{1,64}$/)
    .optional(),
  prefix: z.string().regex(PREFIX).default("mcp_hub"),
  scopes: scopes.default([...SCOPES]),
  tools: tools.optional(),
  responseTopics: z.array(z.string().min(1)).default([]),
  queue: count(0, 100_000).default(1000),
});

const limits = z.strictObject({
  bodyBytes: count(1024, 64 * 1024 * 1024).default(256 * 1024),
  eventsKept: count(1, 100_000).default(500),
  concurrentCalls: count(1, 10_000).default(64),
  webSockets: count(1, 10_000).default(100),
  webSocketQueueBytes: count(1024, 64 * 1024 * 1024).default(1024 * 1024),
  webSocketPingSeconds: seconds(600).default(30),
  authSeconds: seconds(600).default(10),
  authFailuresPerMinute: count(1, 10_000).default(20),
});

export const configSchema = z.strictObject({
  listen: z.strictObject({ host: z.string().regex(LOOPBACK).default("127.0.0.1"), port: port(0) }),
  trustedProxies: z.array(z.union([z.ipv4(), z.ipv6(), z.cidrv4(), z.cidrv6()])).default([]),
  logLevel: z.enum(LEVELS).default("info"),
  secretsFile: path.optional(),
  servers: z.record(name, z.discriminatedUnion("type", [httpServer, stdioServer])).default({}),
  mqtt: mqtt.optional(),
  clients: z.record(name, client),
  limits: limits.prefault({}),
});

export const secretsSchema = z.strictObject({
  servers: z
    .record(
      name,
      z.strictObject({
        token: z
          .string()
          .min(1)
          .regex(/^[\x21-\x7e]+$/)
          .optional(),
        env: z.record(z.string(), z.string()).optional(),
      }),
    )
    .default({}),
  mqtt: z.strictObject({ password: z.string().min(1) }).optional(),
});

export type Config = z.output<typeof configSchema>;
export type Secrets = z.output<typeof secretsSchema>;
export type ServerConfig = Config["servers"][string];
export type HttpServerConfig = z.output<typeof httpServer>;
export type StdioServerConfig = z.output<typeof stdioServer>;
export type MqttConfig = NonNullable<Config["mqtt"]>;
export type Limits = Config["limits"];

/** What would be right, by field; `*` is any name or index. */
export const EXPECTED: Record<string, string> = {
  "": "a JSON object with at least `listen` and `clients`",
  listen: 'an object such as {"host": "127.0.0.1", "port": 3001}',
  "listen.host": "a loopback address (127.0.0.1, ::1): TLS and the network are the proxy's work",
  "listen.port": "a whole number from 1 to 65535 (0: any free one)",
  "trustedProxies.*": 'an address or a network such as "192.168.1.134" or "192.168.1.0/24"',
  logLevel: `one of ${LEVELS.join(", ")}`,
  secretsFile: "an absolute path",
  servers: "an object: a name for each MCP server",
  "servers.*":
    '{"type": "http", "url": ...} or {"type": "stdio", "command": ...}, under a name such as `home_assistant` (a-z, 0-9, single _ or -)',
  "servers.*.type": '"http" or "stdio"',
  "servers.*.url": 'an http or https address such as "https://192.168.1.134:8123/api/mcp"',
  "servers.*.caFile": "the absolute path of a PEM file with the authority's certificate",
  "servers.*.plainHttp": "true or false",
  "servers.*.command": "the absolute path of a program",
  "servers.*.args": "a list of strings",
  "servers.*.env": "an object of strings",
  "servers.*.cwd": "an absolute path",
  "servers.*.timeoutSeconds": "a number above 0 and up to 600",
  "servers.*.refreshSeconds": "a number above 0 and up to 3600",
  mqtt: 'an object such as {"url": "mqtts://192.168.1.135:8883", "username": "mcp_hub-comms"}',
  "mqtt.url": 'an mqtts (or mqtt) address such as "mqtts://192.168.1.135:8883"',
  "mqtt.username": "a name that is not empty",
  "mqtt.caFile": "the absolute path of a PEM file with the authority's certificate",
  "mqtt.plainMqtt": "true or false",
  "mqtt.clientId": "1 to 64 of A-Z a-z 0-9 _ . -",
  "mqtt.prefix": "topic levels of A-Z a-z 0-9 _ . - such as `mcp_hub`, without a slash at either end",
  "mqtt.scopes": `a list of ${SCOPES.join(", ")}`,
  "mqtt.scopes.*": `one of ${SCOPES.join(", ")}`,
  "mqtt.tools": "a list of patterns",
  "mqtt.tools.*": "`server/tool`, where * stands for anything, such as `home_assistant/*`",
  "mqtt.responseTopics": "a list of topic patterns, where * stands for anything",
  "mqtt.queue": "a whole number from 0 to 100000",
  clients: "an object: a name for each client",
  "clients.*":
    '{"tokenSha256": ..., "scopes": [...]}, under a name such as `ai_automation` (a-z, 0-9, single _ or -)',
  "clients.*.tokenSha256": "64 lower-case hex digits (`printf %s TOKEN | sha256sum`), or a list of such",
  "clients.*.tokenSha256.*": "64 lower-case hex digits (`printf %s TOKEN | sha256sum`)",
  "clients.*.scopes": `a list of ${SCOPES.join(", ")}`,
  "clients.*.scopes.*": `one of ${SCOPES.join(", ")}`,
  "clients.*.tools": "a list of patterns",
  "clients.*.tools.*": "`server/tool`, where * stands for anything, such as `home_assistant/*`",
  limits: "an object of numbers (README.md lists them)",
  "limits.*": "a number within the bounds that README.md gives",
};

export const EXPECTED_SECRETS: Record<string, string> = {
  "": 'a JSON object such as {"servers": {"home_assistant": {"token": "..."}}, "mqtt": {"password": "..."}}',
  "servers.*": '{"token": "..."} for an http server, {"env": {...}} for a stdio server',
  "servers.*.token": "a token without blanks",
  "servers.*.env": "an object of strings",
  mqtt: '{"password": "..."}',
  "mqtt.password": "a password that is not empty",
};
