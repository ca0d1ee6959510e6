import assert from "node:assert/strict";
import { chmodSync, mkdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { configSchema } from "../src/config.js";
import { load } from "../src/load.js";
import { ConfigError } from "../src/problems.js";
import { certificates, folder, put } from "./kit/files.js";
import { sha256 } from "./kit/hub.js";

const at = folder();
const { ca } = certificates();
const SECRETS = { servers: { home: { token: "t0ken-of-home" } }, mqtt: { password: "pass-of-mqtt" } };
const CONFIG = {
  listen: { host: "127.0.0.1", port: 3001 },
  logLevel: "info",
  secretsFile: join(at, "secrets.json"),
  servers: {
    home: { type: "http", url: "https://192.168.1.134:8123/api/mcp", caFile: ca },
    box: { type: "stdio", command: "/usr/bin/box", args: ["--mcp"] },
  },
  mqtt: { url: "mqtts://192.168.1.135:8883", username: "mcp_hub-comms", caFile: ca },
  clients: { app: { tokenSha256: sha256("x"), scopes: ["read", "call"], tools: ["home/*"] } },
};

/** The problems of a configuration that differs from the good one by `change`. */
function problems(change: (config: any, secrets: any) => unknown): string[] {
  const [config, secrets]: any[] = structuredClone([CONFIG, SECRETS]);
  change(config, secrets);
  put(join(at, "secrets.json"), secrets);
  const file = put(join(at, "config.json"), config.text ?? config);
  try {
    load(file);
    return [];
  } catch (error) {
    assert.ok(error instanceof ConfigError, String(error));
    return [...error.problems];
  }
}

test("a good configuration is taken, with its defaults", () => {
  assert.deepEqual(
    problems(() => undefined),
    [],
  );
  const { config, secrets } = load(join(at, "config.json"));
  assert.equal(config.mqtt?.prefix, "mcp_hub");
  assert.equal(config.limits.bodyBytes, 262144);
  assert.equal(secrets.servers["home"]?.token, "t0ken-of-home");
});

test("the smallest configuration", () => {
  const config = configSchema.parse({ listen: { port: 3001 }, clients: {} });
  assert.deepEqual(
    [config.listen.host, config.servers, config.mqtt, config.logLevel],
    ["127.0.0.1", {}, undefined, "info"],
  );
});

// field, what is changed: each must be refused by a line with file, field, and what would be right.
const WRONG: [string, (config: any, secrets: any) => unknown][] = [
  ["listen", (c) => delete c.listen],
  ["listen.port", (c) => (c.listen.port = "3001")],
  ["listen.port", (c) => (c.listen.port = 65536)],
  ["listen.port", (c) => (c.listen.port = 80.5)],
  ["listen.host", (c) => (c.listen.host = "0.0.0.0")],
  ["listen.host", (c) => (c.listen.host = "192.168.1.135")],
  ["logLevel", (c) => (c.logLevel = "loud")],
  ["secretsFile", (c) => (c.secretsFile = "secrets.json")],
  ["secretsFile", (c) => (c.secretsFile = "/nowhere/secrets.json")],
  ["trustedProxies[0]", (c) => (c.trustedProxies = ["proxy"])],
  ["servers.home.url", (c) => (c.servers.home.url = "192.168.1.134:8123")],
  ["servers.home.url", (c) => (c.servers.home.url = "ftp://192.168.1.134/")],
  ["servers.home.url", (c) => delete c.servers.home.url],
  ["servers.home.url", (c) => (c.servers.home.url = "http://192.168.1.134:8123/api/mcp")],
  ["servers.home.url", (c) => (c.servers.home.url = "https://user:pass@192.168.1.134/api/mcp")],
  ["servers.home.type", (c) => (c.servers.home.type = "sse")],
  ["servers.home.caFile", (c) => (c.servers.home.caFile = "/nowhere/ca.pem")],
  ["servers.home.caFile", (c) => (c.servers.home.caFile = put(join(at, "not.pem"), "nothing"))],
  ["servers.home.timeoutSeconds", (c) => (c.servers.home.timeoutSeconds = 0)],
  ["servers.home.refreshSeconds", (c) => (c.servers.home.refreshSeconds = "often")],
  ["servers.home", (c) => (c.servers.home.token = "secrets do not belong here")],
  ["servers.box.command", (c) => (c.servers.box.command = "box")],
  ["servers.box.args", (c) => (c.servers.box.args = "--mcp")],
  ["servers.Box", (c) => (c.servers.Box = c.servers.box)],
  ["servers.a__b", (c) => (c.servers.a__b = c.servers.box)],
  ["mqtt.url", (c) => (c.mqtt.url = "https://192.168.1.135:8883")],
  ["mqtt.url", (c) => (c.mqtt.url = "mqtt://192.168.1.135:1883")],
  ["mqtt.prefix", (c) => (c.mqtt.prefix = "mcp_hub/#")],
  ["mqtt.prefix", (c) => (c.mqtt.prefix = "mcp_hub/")],
  ["mqtt.caFile", (c) => (c.mqtt.caFile = "/nowhere/ca.pem")],
  ["mqtt.scopes[0]", (c) => (c.mqtt.scopes = ["write"])],
  ["mqtt.tools[0]", (c) => (c.mqtt.tools = ["hoem/*"])],
  ["clients", (c) => delete c.clients],
  ["clients.app.tokenSha256", (c) => (c.clients.app.tokenSha256 = "the token itself")],
  ["clients.app.tokenSha256", (c) => (c.clients.app.tokenSha256 = sha256("x").toUpperCase())],
  ["clients.other.tokenSha256", (c) => (c.clients.other = c.clients.app)],
  ["clients.app.scopes[1]", (c) => (c.clients.app.scopes = ["read", "reed"])],
  ["clients.app.scopes", (c) => (c.clients.app.scopes = [])],
  ["clients.app.tools[0]", (c) => (c.clients.app.tools = ["home"])],
  ["clients.app.tools[0]", (c) => (c.clients.app.tools = ["hoem/*"])],
  ["clients.app", (c) => (c.clients.app.server = "home")],
  ["limits.bodyBytes", (c) => (c.limits = { bodyBytes: 10 })],
  ["limits", (c) => (c.limits = { bodybytes: 2048 })],
  ["the whole file", (c) => (c.server = {})],
  ["is not JSON", (c) => (c.text = '{"listen": {')],
  ["the whole file", (c) => (c.text = "[]")],
  ["servers.hoem", (_, s) => (s.servers.hoem = { token: "x" })],
  ["servers.home.env", (_, s) => (s.servers.home = { env: {} })],
  ["servers.box.token", (_, s) => (s.servers.box = { token: "x" })],
  ["servers.home.token", (_, s) => (s.servers.home.token = "with blank")],
  ["servers.home", (_, s) => (s.servers.home.tokn = "x")],
  ["mqtt.password", (_, s) => (s.mqtt.password = "")],
  ["mqtt.password", (c) => delete c.mqtt.username],
];

for (const [field, change] of WRONG) {
  test(`refused: ${field} after ${String(change)
    .replace(/^\(.*?\) => /, "")
    .slice(0, 60)}`, () => {
    const found = problems(change);
    const line = found.find((one) => one.includes(`: ${field}`));
    assert.ok(line, `no line names it: ${found.join(" | ")}`);
    assert.match(line, /^\/.*\.json: .*expected .{3}/);
    assert.equal(found.length, 1, found.join(" | "));
  });
}

test("all problems are told at once", () => {
  const found = problems((c) => {
    c.listen.port = -1;
    c.logLevel = "loud";
    c.clients.app.scopes = ["reed"];
  });
  assert.equal(found.length, 3);
});

test("a secret may go in clear to loopback, or where the configuration says so", () => {
  assert.deepEqual(
    problems((c) => (c.servers.home.url = "http://127.0.0.1:8123/api/mcp")),
    [],
  );
  assert.deepEqual(
    problems((c) =>
      Object.assign(c.servers.home, { url: "http://192.168.1.134:8123/api/mcp", plainHttp: true }),
    ),
    [],
  );
  assert.deepEqual(
    problems((c) => (c.mqtt.url = "mqtt://localhost:1883")),
    [],
  );
  assert.deepEqual(
    problems((c) => Object.assign(c.mqtt, { url: "mqtt://192.168.1.135:1883", plainMqtt: true })),
    [],
  );
});

test("a secrets file that others may read is refused", () => {
  for (const mode of [0o640, 0o604, 0o660]) {
    problems(() => undefined);
    chmodSync(CONFIG.secretsFile, mode);
    assert.throws(
      () => load(join(at, "config.json")),
      /secrets\.json: others may read it; expected mode 0600/,
    );
  }
  chmodSync(CONFIG.secretsFile, 0o400);
  load(join(at, "config.json"));
  chmodSync(CONFIG.secretsFile, 0o600);
});

test("no message quotes a secret", () => {
  const said = problems((_, s) => {
    s.servers.home.token = "a secret with blanks";
    s.mqtt.password = 12345678;
  }).join("\n");
  assert.match(said, /servers\.home\.token/);
  assert.ok(!/a secret|12345678/.test(said));
  problems(() => undefined);
  put(CONFIG.secretsFile, '{"mqtt": {"password": "hunter2hunter2" oops');
  assert.throws(
    () => load(join(at, "config.json")),
    (error: Error) => /not JSON/.test(error.message) && !/hunter2|oops/.test(error.message),
  );
});

test("a file that is not there, or a folder", () => {
  assert.throws(() => load(join(at, "none.json")), /none\.json: cannot be read/);
  assert.throws(() => load(at), /cannot be read/);
});

test("a check before the first installation: staged files first, the secrets may be absent", () => {
  const stage = folder();
  const home = join(folder(), "etc");
  const config = {
    ...CONFIG,
    secretsFile: join(home, "secrets.json"),
    mqtt: undefined,
    servers: { home: { type: "http", url: "https://h/", caFile: join(home, "ca.pem") } },
  };
  const file = put(join(at, "staged.json"), config);
  assert.throws(() => load(file, { secretsOptional: true, root: stage }), /caFile/);
  const staged = (name: string) => join(stage, home, name);
  mkdirSync(dirname(staged("x")), { recursive: true });
  put(staged("ca.pem"), "no certificate");
  assert.throws(() => load(file, { secretsOptional: true, root: stage }), /caFile/);
  put(staged("ca.pem"), readFileSync(ca, "utf8"));
  load(file, { secretsOptional: true, root: stage });
  assert.throws(() => load(file, { root: stage }), /secretsFile/);
  put(staged("secrets.json"), { servers: { nobody: { token: "x" } } }, 0o644);
  assert.throws(() => load(file, { secretsOptional: true, root: stage }), /servers\.nobody/);
  put(staged("secrets.json"), { servers: { home: { token: "x" } } });
  assert.equal(load(file, { root: stage }).secrets.servers["home"]?.token, "x");
});
