import assert from "node:assert/strict";
import { createServer } from "node:http";
import { type AddressInfo, connect } from "node:net";
import { before, test } from "node:test";
import { Log } from "../src/log.js";
import { type Context, serve } from "../src/rest.js";
import { atEnd } from "./kit/cleanup.js";
import { TestHub, CLIENTS } from "./kit/hub.js";
import { HA_TOKEN, LikeHomeAssistant } from "./kit/servers.js";
import { freePort } from "./kit/files.js";
import { until } from "./kit/poll.js";

const home = new LikeHomeAssistant();
let hub: TestHub;

before(async () => {
  await home.start();
  const servers = {
    home: { type: "http", url: home.url },
    gone: { type: "http", url: `http://127.0.0.1:${await freePort()}/mcp` },
    hasty: { type: "http", url: home.url, timeoutSeconds: 0.7 },
  };
  const limits = { bodyBytes: 2048, authFailuresPerMinute: 5, eventsKept: 3 };
  hub = await new TestHub(
    { servers, limits, clients: CLIENTS },
    { servers: { home: { token: HA_TOKEN }, hasty: { token: HA_TOKEN } } },
  ).start();
  await hub.reaches("home", "connected");
  await hub.reaches("hasty", "connected");
  await hub.reaches("gone", "down");
});

test("health needs no token, and says what does not work", async () => {
  const { status, json } = await hub.ask("GET", "/health", { token: "" });
  assert.equal(status, 200);
  assert.equal(json.status, "degraded");
  assert.match(json.version, /^\d+\.\d+\.\d+$/);
  assert.ok(json.uptimeSeconds >= 0);
  assert.equal(json.servers.home.state, "connected");
  assert.equal(json.servers.gone.state, "down");
  assert.equal(json.mqtt, null);
  assert.ok(!JSON.stringify(json).includes("ECONNREFUSED"), "reasons are for clients only");
});

test("health is ok when everything behind it is", async () => {
  const fine = await new TestHub(
    { servers: { home: { type: "http", url: home.url } } },
    { servers: { home: { token: HA_TOKEN } } },
  ).start();
  await fine.reaches("home", "connected");
  assert.equal((await fine.ask("GET", "/health", { token: "" })).json.status, "ok");
});

test("servers with their state and their last error", async () => {
  const { json } = await hub.ask("GET", "/api/servers");
  const [one, other] = json.servers;
  assert.deepEqual([one.name, one.state, one.error, one.tools], ["home", "connected", null, 4]);
  assert.equal(other.state, "down");
  assert.match(other.error, /ECONNREFUSED/);
});

test("tools with their input schemas", async () => {
  const { json } = await hub.ask("GET", "/api/tools");
  const tool = json.tools.find((one: { name: string }) => one.name === "intent__HassTurnOn");
  assert.equal(tool.server, "home");
  assert.deepEqual(tool.inputSchema.required, ["name"]);
});

test("a tool does what it is asked", async () => {
  home.ran.length = 0;
  const { status, json } = await hub.call("home/intent__HassTurnOn", { name: "kitchen" });
  assert.equal(status, 200);
  assert.equal(json.result.content[0].text, "on: kitchen");
  assert.deepEqual(home.ran, [{ name: "kitchen" }]);
});

for (const [what, options, code] of [
  ["no token", { token: "" }, "unauthorized"],
  ["a wrong token", { token: "admin-tokem" }, "unauthorized"],
  ["a token's hash", { token: CLIENTS.admin.tokenSha256 }, "unauthorized"],
  ["another scheme", { token: "", headers: { Authorization: "Basic YWRtaW4tdG9rZW4=" } }, "unauthorized"],
  ["a token in the address", { token: "" }, "unauthorized"],
] as const) {
  test(`refused: ${what}`, async () => {
    const path = what.includes("address")
      ? "/api/tools?token=admin-token&access_token=admin-token"
      : "/api/tools";
    const own = { "X-Forwarded-For": `10.0.1.${what.length}` };
    const { status, json, headers } = await hub.ask("GET", path, {
      ...options,
      headers: { ...own, ...("headers" in options ? options.headers : {}) },
    });
    assert.equal(status, 401);
    assert.equal(json.error.code, code);
    assert.match(headers.get("WWW-Authenticate") ?? "", /^Bearer/);
  });
}

test("scopes: each opens its own doors only", async () => {
  const turn = { name: "hall" };
  const doors = async (token: string) => [
    (await hub.ask("GET", "/api/servers", { token })).status,
    (await hub.ask("GET", "/api/tools", { token })).status,
    (await hub.ask("GET", "/api/events", { token })).status,
    (await hub.call("home/intent__HassTurnOn", turn, token)).status,
    (await hub.ask("POST", "/api/events", { token, body: { type: "x" } })).status,
  ];
  assert.deepEqual(await doors("admin-token"), [200, 200, 200, 200, 201]);
  assert.deepEqual(await doors("reader-token"), [200, 200, 200, 403, 403]);
  assert.deepEqual(await doors("caller-token"), [403, 403, 403, 200, 403]);
});

test("a client sees and calls the tools that it is granted, no others", async () => {
  const token = "lamp-token";
  assert.deepEqual(
    (await hub.ask("GET", "/api/servers", { token })).json.servers.map((one: { name: string }) => one.name),
    ["home"],
  );
  assert.deepEqual(
    (await hub.ask("GET", "/api/tools", { token })).json.tools.map((one: { name: string }) => one.name),
    ["intent__HassTurnOn"],
  );
  assert.equal((await hub.call("home/intent__HassTurnOn", { name: "x" }, token)).status, 200);
  home.seen.length = 0;
  const { status, json } = await hub.call("home/secret", {}, token);
  assert.deepEqual([status, json.error.code], [403, "tool_not_allowed"]);
  assert.equal((await hub.call("nowhere/x", {}, token)).status, 403, "no word about which servers there are");
  assert.deepEqual(
    home.seen.filter((one) => one.mcp === "tools/call"),
    [],
  );
});

for (const [what, tool, args, status, code] of [
  ["an unknown server", "nowhere/x", {}, 404, "unknown_server"],
  ["an unknown tool", "home/nothing", {}, 404, "unknown_tool"],
  ["a server of an object's own names", "constructor/x", {}, 404, "unknown_server"],
  ["a missing argument", "home/intent__HassTurnOn", {}, 400, "bad_arguments"],
  ["an argument of the wrong type", "home/intent__HassTurnOn", { name: 7 }, 400, "bad_arguments"],
  [
    "an argument out of bounds",
    "home/intent__HassTurnOn",
    { name: "x", brightness: 101 },
    400,
    "bad_arguments",
  ],
  ["arguments that are a list", "home/intent__HassTurnOn", ["x"], 400, "bad_request"],
  ["a server that is down", "gone/x", {}, 502, "server_down"],
  ["a tool that is slow", "hasty/slow", { ms: 2000 }, 504, "timeout"],
] as const) {
  test(`refused: ${what}`, async () => {
    home.ran.length = 0;
    const answer = await hub.call(tool, args);
    assert.deepEqual([answer.status, answer.json.error.code], [status, code]);
    assert.ok(answer.json.error.message.length > 5);
    assert.deepEqual(home.ran, []);
  });
}

test("bad arguments are named", async () => {
  const { json } = await hub.call("home/intent__HassTurnOn", { name: "x", brightness: 101 });
  assert.match(json.error.message, /brightness.*100/);
});

test("a tool that fails is no success, and its own words are told", async () => {
  const { status, json } = await hub.call("home/fail");
  assert.deepEqual([status, json.error.code, json.error.message], [502, "tool_failed", "the bulb is broken"]);
  assert.equal(json.result.isError, true);
});

for (const [what, body, headers, status, code] of [
  ["malformed JSON", '{"arguments": {', {}, 400, "bad_json"],
  ["an empty body", "", { "Content-Type": "application/json" }, 400, "bad_json"],
  ["another content type", "x=1", { "Content-Type": "application/x-www-form-urlencoded" }, 415, "not_json"],
  ["an unknown field", { arguments: {}, argument: 1 }, {}, 400, "bad_request"],
  ["a body that is too big", { arguments: { name: "x".repeat(3000) } }, {}, 413, "too_big"],
] as const) {
  test(`refused: ${what}`, async () => {
    const path = "/api/servers/home/tools/intent__HassTurnOn";
    const answer = await hub.ask("POST", path, { body, headers });
    assert.deepEqual([answer.status, answer.json.error.code], [status, code]);
    assert.ok(!/ at .*\.js|node_modules/.test(answer.text), "no stack trace");
  });
}

test("refused: a body that never says its length and goes on too long", async () => {
  const socket = connect(hub.port, "127.0.0.1");
  let heard = "";
  socket.on("data", (data) => (heard += data));
  socket.on("error", () => undefined);
  const head =
    "POST /api/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer admin-token\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
  socket.write(head + `bb8\r\n${"x".repeat(3000)}\r\n`);
  await until(() => heard.includes("413"), "413 before the body ends");
  socket.destroy();
});

test("refused: paths and methods that are not there", async () => {
  assert.equal((await hub.ask("GET", "/api/nothing")).status, 404);
  assert.equal((await hub.ask("GET", "/api/../etc/passwd")).status, 404);
  const { status, headers } = await hub.ask("DELETE", "/api/events");
  assert.deepEqual([status, headers.get("Allow")], [405, "GET, POST"]);
  assert.equal((await hub.ask("POST", "/health", { body: {} })).status, 405);
  assert.equal((await hub.ask("POST", "/api/servers/home/tools/%E0%A4%A", { body: {} })).status, 400);
  assert.equal(
    (await hub.ask("GET", "/api/nothing", { token: "", headers: { "X-Forwarded-For": "10.0.0.2" } })).status,
    401,
    "strangers learn nothing",
  );
});

test("events: published, kept, filtered, and the oldest forgotten", async () => {
  for (const type of ["old", "door/front", "door/back", "bell"]) {
    const { status, json } = await hub.ask("POST", "/api/events", { body: { type, data: { n: type } } });
    assert.deepEqual([status, json.event.type, json.event.source], [201, type, "admin"]);
  }
  const types = async (query: string) =>
    (await hub.ask("GET", `/api/events${query}`)).json.events.map((one: { type: string }) => one.type);
  assert.deepEqual(await types(""), ["door/front", "door/back", "bell"]);
  assert.deepEqual(await types("?type=door/*"), ["door/front", "door/back"]);
  assert.deepEqual(await types("?limit=1"), ["bell"]);
  assert.equal((await hub.ask("GET", "/api/events?limit=many")).status, 400);
});

for (const type of [
  "",
  "a//b",
  "/a",
  "a/",
  "a b",
  "a+",
  "a/#",
  "$SYS",
  "é",
  "x".repeat(201),
  "hub/server",
  7,
]) {
  test(`refused: an event of type ${JSON.stringify(type).slice(0, 20)}`, async () => {
    assert.equal((await hub.ask("POST", "/api/events", { body: { type } })).status, 400);
  });
}

test("the hub tells of its servers in events of its own", async () => {
  const own = await new TestHub(
    { servers: { home: { type: "http", url: home.url } } },
    { servers: { home: { token: HA_TOKEN } } },
  ).start();
  await own.reaches("home", "connected");
  const { json } = await own.ask("GET", "/api/events?type=hub/*");
  assert.deepEqual(json.events.at(-1).data, { server: "home", state: "connected" });
  assert.equal(json.events.at(-1).source, "hub");
});

test("wrong tokens are limited by address, valid ones pass", async () => {
  const from = (address: string, token: string) =>
    hub.ask("GET", "/api/tools", { token, headers: { "X-Forwarded-For": address } });
  for (let n = 0; n < 5; n += 1) assert.equal((await from("192.0.2.7", "bad")).status, 401);
  const { status, headers } = await from("192.0.2.7", "bad");
  assert.equal(status, 429);
  assert.ok(Number(headers.get("Retry-After")) > 0);
  assert.equal((await from("192.0.2.8", "bad")).status, 401, "another address has its own count");
  assert.equal(
    (await from("1.2.3.4, 192.0.2.7", "bad")).status,
    429,
    "what the client itself put before does not count",
  );
  assert.equal((await from("192.0.2.7", "admin-token")).status, 200);
});

test("calls at once are bounded", async () => {
  const busy = await new TestHub(
    { servers: { home: { type: "http", url: home.url } }, limits: { concurrentCalls: 1 } },
    { servers: { home: { token: HA_TOKEN } } },
  ).start();
  await busy.reaches("home", "connected");
  const first = busy.call("home/slow", { ms: 600 });
  await until(() => home.seen.some((one) => one.mcp === "tools/call"), "the first call arrives");
  const second = await until(async () => {
    const answer = await busy.call("home/intent__HassTurnOn", { name: "x" });
    return answer.status === 503 ? answer : undefined;
  }, "503");
  assert.equal(second.json.error.code, "busy");
  assert.equal((await first).status, 200);
  assert.equal((await busy.call("home/intent__HassTurnOn", { name: "x" })).status, 200);
});

test("no token and no secret is ever logged", () => {
  const all = hub.lines.join("\n");
  assert.match(all, /"outcome":"ok"/);
  for (const secret of [HA_TOKEN, "admin-token", "admin-tokem"]) assert.ok(!all.includes(secret), secret);
});

test("a mistake of ours is 500 without a word about the inside, which goes to the log", async () => {
  const lines: string[] = [];
  const health = () => {
    throw new Error("the inside");
  };
  const context = { log: new Log("error", (line) => lines.push(line)), health } as unknown as Context;
  const server = createServer((request, response) => void serve(context, request, response));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  atEnd(() => server.close());
  const response = await fetch(`http://127.0.0.1:${(server.address() as AddressInfo).port}/health`);
  assert.equal(response.status, 500);
  const said = await response.text();
  assert.ok(said.includes('"internal"') && !/the inside| at /.test(said), said);
  assert.match(lines.join(), /the inside.*stack/);
});
