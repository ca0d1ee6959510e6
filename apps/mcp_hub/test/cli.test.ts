import assert from "node:assert/strict";
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { chmodSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { Broker } from "./kit/broker.js";
import { atEnd } from "./kit/cleanup.js";
import { folder, freePort, put } from "./kit/files.js";
import { CLIENTS, sha256 } from "./kit/hub.js";
import { HA_TOKEN, LikeHomeAssistant } from "./kit/servers.js";
import { Socket } from "./kit/socket.js";
import { until } from "./kit/poll.js";

const MAIN = fileURLToPath(new URL("../src/main.js", import.meta.url));
const run = (...args: string[]) =>
  spawnSync(process.execPath, [MAIN, ...args], { encoding: "utf8", timeout: 30_000 });
const STDIO = fileURLToPath(new URL("./kit/stdio-server.js", import.meta.url));

interface Running {
  child: ChildProcess;
  port: number;
  out: string;
  code: number | null | undefined;
}

/** The program itself, listening. */
async function started(file: string, port: number): Promise<Running> {
  const child = spawn(process.execPath, [MAIN, "--config", file], { stdio: ["ignore", "pipe", "pipe"] });
  const running: Running = { child, port, out: "", code: undefined };
  for (const stream of [child.stdout, child.stderr]) stream?.on("data", (data) => (running.out += data));
  child.on("exit", (code) => (running.code = code));
  atEnd(() => child.kill("SIGKILL"));
  await until(() => running.out.includes('"listening"') || running.code !== undefined, "it listens");
  return running;
}

const get = (port: number, path: string, token?: string) =>
  fetch(
    `http://127.0.0.1:${port}${path}`,
    token === undefined ? {} : { headers: { Authorization: `Bearer ${token}` } },
  );

test("--check: 0 for a good configuration, 1 for a bad one with every problem, and nothing is started", () => {
  const at = folder();
  const good = put(join(at, "good.json"), { listen: { port: 3001 }, clients: { admin: CLIENTS.admin } });
  const fine = run("--config", good, "--check");
  assert.deepEqual([fine.status, fine.stderr], [0, ""]);
  const bad = put(join(at, "bad.json"), { listen: { port: "x" }, clients: { App: CLIENTS.admin } });
  const refused = run("--config", bad, "--check");
  assert.equal(refused.status, 1);
  assert.equal(refused.stderr.trim().split("\n").length, 2);
  assert.match(refused.stderr, /bad\.json: listen\.port: .*; expected a whole number/);
  const absent = put(join(at, "absent.json"), {
    listen: { port: 3001 },
    clients: {},
    secretsFile: join(at, "none.json"),
  });
  assert.equal(run("--config", absent, "--check").status, 0, "the secrets may come later");
  assert.equal(run("--config", absent).status, 1, "but not later than the start");
  put(join(at, "none.json"), { mqtt: {} });
  assert.equal(run("--config", absent, "--check").status, 1, "when they are there they are checked");
  assert.equal(run("--config", join(at, "nothing.json"), "--check").status, 1);
});

test("--check --root looks into an installer's stage", () => {
  const at = folder();
  const config = put(join(at, "config.json"), {
    listen: { port: 3001 },
    clients: {},
    secretsFile: "/none.json",
  });
  assert.equal(run("--config", config, "--check", "--root", at).status, 0);
  put(join(at, "none.json"), { nonsense: 1 });
  assert.equal(run("--config", config, "--check", "--root", at).status, 1);
});

test("usage: what is wrong with the command line is said, with 2", () => {
  for (const args of [[], ["--chek"], ["--check"]]) {
    const { status, stderr } = run(...args);
    assert.equal(status, 2);
    assert.match(stderr, /usage: mcp-hub/);
  }
  assert.equal(run("--help").status, 0);
  assert.match(run("--version").stdout, /^\d+\.\d+\.\d+\n$/);
});

test("--new-token prints a token and its hash", () => {
  const [, token = "", hash] = /token: +(\S+)\ntokenSha256: (\S+)\n/.exec(run("--new-token").stdout) ?? [];
  assert.ok(token.length >= 43);
  assert.equal(createHash("sha256").update(token).digest("hex"), hash);
});

test("a port that is taken: 1, one line, no stack trace", async () => {
  const taken = createServer();
  await new Promise<void>((resolve) => taken.listen(0, "127.0.0.1", resolve));
  const { port } = taken.address() as { port: number };
  const { status, stderr } = run(
    "--config",
    put(join(folder(), "c.json"), { listen: { port }, clients: {} }),
  );
  assert.equal(status, 1);
  assert.match(stderr, /^mcp-hub: cannot start: .*EADDRINUSE.*\n$/);
  taken.close();
});

test("the whole program: works, reloads on SIGHUP, ends on SIGTERM, and never says a secret", async () => {
  const [home, broker, port, at] = [
    await new LikeHomeAssistant().start(),
    await new Broker().start({ hub: "pass-of-mqtt" }),
    await freePort(),
    folder(),
  ];
  const file = join(at, "config.json");
  const config = {
    listen: { port },
    logLevel: "debug",
    secretsFile: join(at, "secrets.json"),
    servers: {
      home: { type: "http", url: home.url },
      box: { type: "stdio", command: process.execPath, args: [STDIO] },
    },
    mqtt: { url: broker.url, username: "hub", prefix: "cli" },
    clients: CLIENTS,
  };
  put(file, config);
  put(config.secretsFile, {
    servers: { home: { token: "an-old-token" } },
    mqtt: { password: "pass-of-mqtt" },
  });
  const hub = await started(file, port);
  const health = async () =>
    (await (await get(port, "/health")).json()) as {
      status: string;
      servers: Record<string, { state: string }>;
      mqtt: { state: string };
    };
  await until(async () => (await health()).servers["home"]?.state === "refused", "the old token is refused");
  await until(
    async () =>
      (await health()).mqtt.state === "connected" && (await health()).servers["box"]?.state === "connected",
    "the rest",
  );

  put(file, "{broken");
  hub.child.kill("SIGHUP");
  await until(() => hub.out.includes("not reloaded"), "a broken configuration is refused");
  assert.equal((await get(port, "/api/tools", "reader-token")).status, 200, "and the old one stays");

  put(file, {
    ...config,
    clients: { fresh: { tokenSha256: sha256("fresh-token"), scopes: ["read", "call"] } },
  });
  put(config.secretsFile, { servers: { home: { token: HA_TOKEN } }, mqtt: { password: "pass-of-mqtt" } });
  hub.child.kill("SIGHUP");
  await until(async () => (await get(port, "/api/tools", "fresh-token")).status === 200, "the new client");
  assert.equal((await get(port, "/api/tools", "reader-token")).status, 401);
  await until(async () => (await health()).status === "ok", "the new credentials connect");
  assert.ok(!hub.out.includes("takes a restart"));
  put(file, { ...config, listen: { port: port + 1 } });
  hub.child.kill("SIGHUP");
  await until(() => hub.out.includes("takes a restart"), "it says what it cannot take over");

  const { heard } = await broker.listener(["cli/status"], { username: "hub", password: "pass-of-mqtt" });
  const socket = await Socket.open(port, "admin-token");
  const called = await fetch(`http://127.0.0.1:${port}/api/servers/box/tools/pid`, {
    method: "POST",
    headers: { Authorization: "Bearer admin-token", "Content-Type": "application/json" },
    body: "{}",
  });
  const pid = Number(
    ((await called.json()) as { result: { content: { text: string }[] } }).result.content[0]?.text,
  );
  hub.child.kill("SIGTERM");
  await until(() => hub.code !== undefined, "it ends");
  assert.equal(hub.code, 0);
  assert.equal((await until(() => socket.closed, "the goodbye")).code, 1001);
  await until(() => heard.some((one) => one.text === "offline"), "offline");
  await until(() => !alive(pid), "its own programs are gone");
  for (const line of hub.out.trim().split("\n")) assert.ok(JSON.parse(line).level, line);
  for (const secret of [HA_TOKEN, "an-old-token", "pass-of-mqtt", "fresh-token"])
    assert.ok(!hub.out.includes(secret), secret);
  assert.match(hub.out, /\[secret\]/, "the server's own words, which quoted the token, were cleaned");
});

test("a secrets file that others may read is no start", () => {
  const at = folder();
  const secretsFile = put(join(at, "secrets.json"), {});
  chmodSync(secretsFile, 0o644);
  const { status, stderr } = run(
    "--config",
    put(join(at, "c.json"), { listen: { port: 0 }, clients: {}, secretsFile }),
  );
  assert.equal(status, 1);
  assert.match(stderr, /chmod 600/);
});

function alive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}
