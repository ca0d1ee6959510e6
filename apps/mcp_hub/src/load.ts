/** Reads the configuration and the secrets, and finds everything that is wrong with them at once. */

import { X509Certificate } from "node:crypto";
import { existsSync, readFileSync, statSync } from "node:fs";
import type { z } from "zod";
import {
  type Config,
  type Secrets,
  configSchema,
  secretsSchema,
  EXPECTED,
  EXPECTED_SECRETS,
} from "./config.js";
import { text } from "./errors.js";
import { matches } from "./glob.js";
import { ConfigError, problemsOf } from "./problems.js";

export interface Loaded {
  config: Config;
  secrets: Secrets;
}

export interface LoadOptions {
  /** A folder under which files are looked for first: an installer's stage. Modes there are the installer's. */
  root?: string;
  /** May the secrets file be absent? True for a check before the first installation. */
  secretsOptional?: boolean;
}

const LOOPBACK_HOST = /^(127\.\d+\.\d+\.\d+|\[::1\]|localhost)$/;
const OTHERS = 0o077;

/**
 * The configuration in this file, with its secrets.
 *
 * @throws ConfigError with a line for each problem.
 */
export function load(file: string, options: LoadOptions = {}): Loaded {
  const config = parse(file, file, configSchema, EXPECTED, true);
  const problems: string[] = [];
  const secrets = secretsOf(file, config, options, problems);
  problems.push(...contradictions(file, config, secrets, options));
  if (problems.length > 0) throw new ConfigError(problems);
  return { config, secrets: secrets ?? secretsSchema.parse({}) };
}

function parse<S extends z.ZodType>(
  file: string,
  at: string,
  schema: S,
  expected: Record<string, string>,
  quote: boolean,
): z.output<S> {
  let value: unknown;
  try {
    value = JSON.parse(readFileSync(at, "utf8"));
  } catch (error) {
    throw new ConfigError([`${file}: ${unreadable(error, quote)}`]);
  }
  const parsed = schema.safeParse(value, { reportInput: false });
  if (!parsed.success) throw new ConfigError(problemsOf(file, parsed.error, expected));
  return parsed.data;
}

/** Why a file cannot be read; the parser quotes the text around a mistake, which for secrets must not show. */
function unreadable(error: unknown, quote: boolean): string {
  if (!(error instanceof SyntaxError))
    return `cannot be read: ${text(error)}; expected a file that this user may read`;
  return `is not JSON${quote ? `: ${text(error)}` : ""}; expected one JSON object`;
}

/** Where a file that the configuration names is now: in the stage, or in its place. */
function placed(path: string, options: LoadOptions): string {
  const staged = options.root === undefined ? "" : options.root + path;
  return staged && existsSync(staged) ? staged : path;
}

function secretsOf(
  file: string,
  config: Config,
  options: LoadOptions,
  problems: string[],
): Secrets | undefined {
  if (config.secretsFile === undefined) return undefined;
  const at = placed(config.secretsFile, options);
  if (!existsSync(at)) {
    if (!options.secretsOptional)
      problems.push(`${file}: secretsFile: there is no ${config.secretsFile}; expected a file of mode 0600`);
    return undefined;
  }
  if (at === config.secretsFile && statSync(at).mode & OTHERS) {
    problems.push(`${at}: others may read it; expected mode 0600 (chmod 600 ${at})`);
  }
  try {
    return parse(config.secretsFile, at, secretsSchema, EXPECTED_SECRETS, false);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    problems.push(...error.problems);
    return undefined;
  }
}

/** What each field alone cannot show. */
function contradictions(
  file: string,
  config: Config,
  secrets: Secrets | undefined,
  options: LoadOptions,
): string[] {
  return [
    ...certificates(config, options).map((words) => `${file}: ${words}`),
    ...unencrypted(config, secrets).map((words) => `${file}: ${words}`),
    ...patterns(config).map((words) => `${file}: ${words}`),
    ...doubles(config).map((words) => `${file}: ${words}`),
    ...strangers(config, secrets).map((words) => `${config.secretsFile ?? file}: ${words}`),
  ];
}

function certificates(config: Config, options: LoadOptions): string[] {
  const named: [string, string | undefined][] = Object.entries(config.servers).map(([name, server]) => [
    `servers.${name}.caFile`,
    server.type === "http" ? server.caFile : undefined,
  ]);
  named.push(["mqtt.caFile", config.mqtt?.caFile]);
  return named.flatMap(([at, path]) => {
    if (path === undefined) return [];
    try {
      new X509Certificate(readFileSync(placed(path, options)));
      return [];
    } catch (error) {
      return [`${at}: ${path} holds no certificate: ${text(error)}; expected a PEM file`];
    }
  });
}

/** A secret goes in clear only where the admin says so in as many words. */
function unencrypted(config: Config, secrets: Secrets | undefined): string[] {
  const found: string[] = [];
  for (const [name, server] of Object.entries(config.servers)) {
    if (server.type !== "http") continue;
    const url = new URL(server.url);
    if (url.username || url.password)
      found.push(`servers.${name}.url: holds a password; expected it in the secrets file`);
    if (url.protocol === "https:" || LOOPBACK_HOST.test(url.hostname) || server.plainHttp) continue;
    if (secrets?.servers[name]?.token) {
      found.push(`servers.${name}.url: the token would go in clear; expected https, or "plainHttp": true`);
    }
  }
  if (config.mqtt) {
    const url = new URL(config.mqtt.url);
    if (url.username || url.password)
      found.push("mqtt.url: holds a password; expected it in `username` and the secrets file");
    // `mqtt:` is no special scheme: localhost stays as typed, addresses too.
    if (
      url.protocol === "mqtt:" &&
      !LOOPBACK_HOST.test(url.hostname) &&
      !config.mqtt.plainMqtt &&
      secrets?.mqtt
    ) {
      found.push('mqtt.url: the password would go in clear; expected mqtts, or "plainMqtt": true');
    }
  }
  return found;
}

/** A pattern for a server that is not there is most likely a typing mistake. */
function patterns(config: Config): string[] {
  const servers = Object.keys(config.servers);
  const named: [string, readonly string[]][] = Object.entries(config.clients).map(([name, client]) => [
    `clients.${name}.tools`,
    client.tools ?? [],
  ]);
  named.push(["mqtt.tools", config.mqtt?.tools ?? []]);
  return named.flatMap(([at, list]) =>
    list.flatMap((pattern, index) => {
      const server = pattern.slice(0, pattern.indexOf("/"));
      if (servers.some((one) => matches(server, one))) return [];
      return [
        `${at}[${index}]: no server is named \`${server}\`; expected one of ${servers.join(", ") || "(none is configured)"}`,
      ];
    }),
  );
}

/** One token for two clients: nobody could say who called. */
function doubles(config: Config): string[] {
  const owners = new Map<string, string>();
  const found: string[] = [];
  for (const [name, client] of Object.entries(config.clients)) {
    for (const hash of client.tokenSha256) {
      const owner = owners.get(hash);
      if (owner !== undefined)
        found.push(
          `clients.${name}.tokenSha256: is also that of \`${owner}\`; expected a token for each client`,
        );
      owners.set(hash, name);
    }
  }
  return found;
}

/** Secrets that fit nothing in the configuration. */
function strangers(config: Config, secrets: Secrets | undefined): string[] {
  const found: string[] = [];
  for (const [name, secret] of Object.entries(secrets?.servers ?? {})) {
    const server = config.servers[name];
    if (!server)
      found.push(
        `servers.${name}: no server has this name; expected one of ${Object.keys(config.servers).join(", ")}`,
      );
    else if (server.type === "http" && secret.env)
      found.push(`servers.${name}.env: is of no use to an http server; expected \`token\``);
    else if (server.type === "stdio" && secret.token)
      found.push(`servers.${name}.token: is of no use to a stdio server; expected \`env\``);
  }
  if (secrets?.mqtt && !config.mqtt?.username)
    found.push("mqtt.password: there is no mqtt.username in the configuration; expected both or none");
  return found;
}
