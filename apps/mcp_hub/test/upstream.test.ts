import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { test } from "node:test";
import { TestHub, loaded } from "./kit/hub.js";
import { HA_TOKEN, LikeHomeAssistant, WithSessions } from "./kit/servers.js";
import { certificates } from "./kit/files.js";
import { until } from "./kit/poll.js";

const PROGRAM = fileURLToPath(new URL("./kit/stdio-server.js", import.meta.url));
const SECRETS = { servers: { home: { token: HA_TOKEN } } };
const pair = certificates();
const strangers = certificates("two");

/** A hub with the one server `home`. */
async function hubOf(url: string, server: object = {}, secrets: object = SECRETS): Promise<TestHub> {
  return new TestHub(
    { servers: { home: { type: "http", url, refreshSeconds: 0.1, ...server } } },
    secrets,
  ).start();
}

const turnOn = (hub: TestHub) => hub.call("home/intent__HassTurnOn", { name: "x" });

test("as Home Assistant wants it: TLS of our authority, bearer, Accept, no session, no GET channel", async () => {
  const home = await new LikeHomeAssistant(pair).start();
  const hub = await hubOf(home.url, { caFile: pair.ca });
  await hub.reaches("home", "connected");
  assert.equal((await turnOn(hub)).status, 200);
  const posts = home.seen.filter((one) => one.method === "POST");
  assert.ok(
    posts.every(
      (one) => one.accept.includes("application/json") && one.authorization === `Bearer ${HA_TOKEN}`,
    ),
  );
  await until(
    () => home.seen.filter((one) => one.mcp === "tools/list").length > 2,
    "the tools are asked for again and again",
  );
  assert.equal(
    home.seen.filter((one) => one.mcp === "initialize").length,
    1,
    "405 for GET is no reason to connect anew",
  );
});

for (const [what, server] of [
  ["another authority's certificate", { caFile: strangers.ca }],
  ["a certificate of nobody we know", {}],
] as const) {
  test(`refused: ${what}`, async () => {
    const home = await new LikeHomeAssistant(pair).start();
    const hub = await hubOf(home.url, server);
    await hub.reaches("home", "down");
    assert.match((await hub.ask("GET", "/api/servers")).json.servers[0].error, /certificate|signature/);
    assert.equal((await turnOn(hub)).status, 502);
    assert.deepEqual(home.seen, [], "not a byte before the certificate is proven");
  });
}

test("a server that is down at the start is found when it comes", async () => {
  const home = new LikeHomeAssistant();
  await home.start();
  await home.stop();
  const hub = await hubOf(home.url);
  await hub.reaches("home", "down");
  await home.start();
  await hub.reaches("home", "connected");
  assert.equal((await turnOn(hub)).status, 200);
});

test("a server that dies is noticed without a call, and found again", async () => {
  const home = await new LikeHomeAssistant().start();
  const hub = await hubOf(home.url);
  await hub.reaches("home", "connected");
  await home.stop();
  await hub.reaches("home", "down");
  assert.equal((await turnOn(hub)).json.error.code, "server_down");
  assert.equal((await hub.ask("GET", "/health", { token: "" })).json.status, "degraded");
  await home.start();
  await hub.reaches("home", "connected");
  assert.equal((await turnOn(hub)).status, 200);
});

test("a call does not wait for the next attempt when the server is back", async () => {
  const home = await new LikeHomeAssistant().start();
  await home.stop();
  const never: [number, number] = [60_000, 60_000];
  const hub = await new TestHub({ servers: { home: { type: "http", url: home.url } } }, SECRETS, {
    retry: never,
    refused: never,
  }).start();
  await hub.reaches("home", "down");
  await home.start();
  assert.equal((await turnOn(hub)).status, 200);
  assert.equal(await hub.state("home"), "connected");
});

test("waits between attempts grow", async () => {
  const home = await new LikeHomeAssistant().start();
  home.broken = 503;
  const hub = await new TestHub({ servers: { home: { type: "http", url: home.url } } }, SECRETS, {
    retry: [30, 2000],
    refused: [1, 1],
  }).start();
  await hub.reaches("home", "down");
  const begun = Date.now();
  await until(() => home.seen.length >= 5, "five attempts");
  assert.ok(Date.now() - begun > 200, "30 + 60 + 120 + 240, less a quarter at most");
});

test("a session that the server forgot is begun anew, and the call is made once", async () => {
  const home = await new WithSessions().start();
  const hub = await hubOf(home.url, { refreshSeconds: 600 });
  await hub.reaches("home", "connected");
  home.forget();
  assert.equal((await turnOn(hub)).status, 200);
  assert.equal(home.ran.length, 1);
});

test("tools that a server adds are seen when it says so", async () => {
  const home = await new WithSessions().start();
  const hub = await hubOf(home.url, { refreshSeconds: 600 });
  await hub.reaches("home", "connected");
  await until(() => home.seen.some((one) => one.method === "GET"), "the open channel");
  home.addTool("new");
  const names = async () =>
    (await hub.ask("GET", "/api/tools")).json.tools.map((one: { name: string }) => one.name);
  await until(async () => (await names()).includes("new"), "the new tool");
  assert.equal((await hub.call("home/new")).status, 200);
});

test("an error of the server's is 502 and says which", async () => {
  const home = await new LikeHomeAssistant().start();
  const hub = await hubOf(home.url, { refreshSeconds: 600 });
  await hub.reaches("home", "connected");
  home.broken = 500;
  const { status, json } = await turnOn(hub);
  assert.equal(status, 502);
  assert.match(json.error.message, /HTTP 500/);
});

test("refused credentials are not tried for ever, and the token shows nowhere", async () => {
  const home = await new LikeHomeAssistant().start();
  const hub = await hubOf(home.url, {}, { servers: { home: { token: "wrong-token-wrong" } } });
  await until(() => hub.lines.some((line) => line.includes("waiting for a reload")), "it gives up");
  const tried = home.seen.length;
  assert.ok(tried >= 2 && tried < 10, `Home Assistant bans after 10, these were ${tried}`);
  assert.equal(await hub.state("home"), "refused");
  const { status, json } = await turnOn(hub);
  assert.equal(status, 502);
  assert.match(json.error.message, /refused/);
  assert.equal(home.seen.length, tried, "nor does a call try");
  const shown = (await hub.ask("GET", "/api/servers")).text + hub.lines.join("\n");
  assert.ok(!shown.includes("wrong-token-wrong") && shown.includes("[secret]"));
});

test("new credentials after a reload connect at once", async () => {
  const home = await new LikeHomeAssistant().start();
  const servers = { home: { type: "http", url: home.url } };
  const hub = await new TestHub(
    { servers },
    { servers: { home: { token: "wrong-token-wrong" } } },
    { retry: [60_000, 60_000], refused: [60_000, 60_000] },
  ).start();
  await hub.reaches("home", "refused");
  assert.equal(await hub.hub.reload(loaded({ servers }, SECRETS)), false);
  assert.equal(await hub.state("home"), "connected");
});

test("a token that is taken back is noticed", async () => {
  const home = await new LikeHomeAssistant().start();
  const hub = await hubOf(home.url, { refreshSeconds: 600 });
  await hub.reaches("home", "connected");
  home.token = "another";
  const { status, json } = await turnOn(hub);
  assert.deepEqual([status, json.error.code], [502, "credentials_refused"]);
  await hub.reaches("home", "refused");
});

test("a redirect elsewhere does not get the token", async () => {
  const home = await new LikeHomeAssistant().start();
  const { createServer } = await import("node:http");
  const liar = createServer((_request, response) => response.writeHead(307, { Location: home.url }).end());
  await new Promise<void>((resolve) => liar.listen(0, "127.0.0.1", resolve));
  const { port } = liar.address() as { port: number };
  const hub = await hubOf(`http://127.0.0.1:${port}/api/mcp`);
  await hub.reaches("home", "down");
  assert.deepEqual(home.seen, []);
  liar.close();
});

test("a program on stdin and stdout: its environment, its end, its return", async () => {
  const server = { type: "stdio", command: process.execPath, args: [PROGRAM], env: { COLOUR: "green" } };
  process.env["HUB_ONLY"] = "private";
  const hub = await new TestHub(
    { servers: { box: server } },
    { servers: { box: { env: { KEY: "a-secret-key" } } } },
  ).start();
  await hub.reaches("box", "connected");
  const env = async (name: string) => (await hub.call("box/env", { name })).json.result.content[0].text;
  assert.deepEqual(
    [await env("COLOUR"), await env("KEY"), await env("HUB_ONLY")],
    ["green", "a-secret-key", "(unset)"],
  );
  const pid = async () => (await hub.call("box/pid")).json.result?.content[0].text;
  const before = await pid();
  assert.equal((await hub.call("box/die")).status, 502);
  const now = await until(async () => (await pid()) ?? false, "it is back");
  assert.notEqual(now, before);
});

test("a program that is not there is a server that is down", async () => {
  const hub = await new TestHub({ servers: { box: { type: "stdio", command: "/nowhere/server" } } }).start();
  await hub.reaches("box", "down");
  assert.match((await hub.ask("GET", "/api/servers")).json.servers[0].error, /ENOENT/);
});

test("one server's death leaves the others alone", async () => {
  const one = await new LikeHomeAssistant().start();
  const other = await new LikeHomeAssistant().start();
  const servers = {
    home: { type: "http", url: one.url, refreshSeconds: 0.1 },
    other: { type: "http", url: other.url },
  };
  const hub = await new TestHub(
    { servers },
    { servers: { home: { token: HA_TOKEN }, other: { token: HA_TOKEN } } },
  ).start();
  await hub.reaches("other", "connected");
  await one.stop();
  await hub.reaches("home", "down");
  assert.equal((await hub.call("other/secret")).status, 200);
});
