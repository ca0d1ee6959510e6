#!/usr/bin/env node
/** The command line. */

import { createHash, randomBytes } from "node:crypto";
import { parseArgs } from "node:util";
import { text } from "./errors.js";
import type { Hub } from "./hub.js";
import { load } from "./load.js";
import { Log } from "./log.js";
import { ConfigError } from "./problems.js";
import { VERSION } from "./version.js";

const USAGE = `usage: mcp-hub --config FILE [--check [--root FOLDER]]
       mcp-hub --new-token

  --config FILE   the configuration, JSON
  --check         say whether the configuration and its files are right, and end: 0 yes, 1 no
  --root FOLDER   with --check: look for the files that the configuration names below FOLDER first
  --new-token     print a new token and the hash of it that goes into the configuration
  --version       print the version
`;
const GRACE = 10_000; // ms

async function main(): Promise<number | undefined> {
  const options = given();
  if (!options) return 2;
  if (options.help) return said(USAGE);
  if (options.version) return said(`${VERSION}\n`);
  if (options["new-token"]) return newToken();
  if (options.config === undefined) return complain(`mcp-hub: --config is missing\n${USAGE}`, 2);
  if (options.check) return check(options.config, options.root);
  await run(options.config);
  return undefined;
}

function given() {
  try {
    return parseArgs({
      options: {
        config: { type: "string" },
        check: { type: "boolean" },
        root: { type: "string" },
        "new-token": { type: "boolean" },
        version: { type: "boolean" },
        help: { type: "boolean" },
      },
    }).values;
  } catch (error) {
    complain(`mcp-hub: ${text(error)}\n${USAGE}`, 2);
    return undefined;
  }
}

function said(words: string): number {
  process.stdout.write(words);
  return 0;
}

function complain(words: string, code: number): number {
  process.stderr.write(words);
  return code;
}

function newToken(): number {
  const token = randomBytes(32).toString("base64url");
  return said(`token:       ${token}\ntokenSha256: ${createHash("sha256").update(token).digest("hex")}\n`);
}

function check(config: string, root: string | undefined): number {
  try {
    load(config, { secretsOptional: true, ...(root === undefined ? {} : { root }) });
  } catch (error) {
    return complain(`${complaint(error)}\n`, 1);
  }
  return said(`${config}: fine\n`);
}

function complaint(error: unknown): string {
  return error instanceof ConfigError ? error.message : text(error);
}

async function run(config: string): Promise<void> {
  const log = new Log();
  const loaded = load(config);
  // Only now: a check needs none of the protocols, and is done four times as fast without them.
  const { Hub } = await import("./hub.js");
  const hub = new Hub(loaded, log);
  let stopping = false;
  const stop = (signal: string) => {
    if (stopping) return;
    stopping = true;
    log.info("stopping", { signal });
    setTimeout(() => process.exit(1), GRACE).unref();
    void hub.stop().then(() => process.exit(0));
  };
  process.on("SIGTERM", () => stop("SIGTERM"));
  process.on("SIGINT", () => stop("SIGINT"));
  process.on("SIGHUP", () => void reload(hub, config, log));
  await hub.start();
}

/** A configuration that is no good changes nothing. */
async function reload(hub: Hub, config: string, log: Log): Promise<void> {
  try {
    const more = await hub.reload(load(config));
    log.info("reloaded");
    if (more) log.warn("some of what changed takes a restart");
  } catch (error) {
    log.error("not reloaded", { error: complaint(error) });
  }
}

main().then(
  (code) => {
    if (code !== undefined) process.exitCode = code;
  },
  (error: unknown) => {
    process.exitCode = complain(`mcp-hub: cannot start: ${complaint(error)}\n`, 1);
    process.exit();
  },
);
