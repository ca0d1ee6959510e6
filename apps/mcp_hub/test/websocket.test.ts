import assert from "node:assert/strict";
import { before, test } from "node:test";
import { CLIENTS, TestHub, loaded, sha256 } from "./kit/hub.js";
import { HA_TOKEN, LikeHomeAssistant } from "./kit/servers.js";
import { until } from "./kit/poll.js";
import { Socket } from "./kit/socket.js";

const home = new LikeHomeAssistant();
let hub: TestHub;

before(async () => {
  await home.start();
  const servers = { home: { type: "http", url: home.url } };
  const limits = {
    bodyBytes: 64 * 1024,
    webSockets: 100,
    webSocketQueueBytes: 64 * 1024,
    webSocketPingSeconds: 0.2,
    authSeconds: 0.4,
  };
  hub = await new TestHub({ servers, limits }, { servers: { home: { token: HA_TOKEN } } }).start();
  await hub.reaches("home", "connected");
});

test("a token in the header, or in the first message", async () => {
  const one = await Socket.open(hub.port);
  assert.deepEqual((await one.hears((said) => said.type === "auth_ok")).client, "admin");
  const other = await new Socket(hub.port).opened();
  other.say({ type: "auth", token: "reader-token" });
  assert.deepEqual((await other.hears((said) => said.type === "auth_ok")).scopes, ["read"]);
});

test("refused: a wrong token, in either way", async () => {
  const one = new Socket(hub.port, "bad");
  assert.equal(await until(() => one.refused, "a refusal"), 401);
  const other = await new Socket(hub.port).opened();
  other.say({ type: "auth", token: "bad" });
  assert.equal((await until(() => other.closed, "closed")).code, 4401);
  assert.equal(other.heard[0].error.code, "unauthorized");
});

test("refused: anything before the token, and silence", async () => {
  const rash = await new Socket(hub.port).opened();
  rash.say({ type: "subscribe", id: 1, events: ["*"] });
  assert.equal((await until(() => rash.closed, "closed")).code, 4401);
  const mute = await new Socket(hub.port).opened();
  assert.equal((await until(() => mute.closed, "closed")).code, 4401);
  assert.deepEqual(mute.heard, []);
});

test("who is not admitted hears no events", async () => {
  const mute = await new Socket(hub.port).opened();
  await hub.ask("POST", "/api/events", { body: { type: "private" } });
  await until(() => mute.closed, "closed");
  assert.deepEqual(mute.heard, []);
});

test("refused: a WebSocket elsewhere", async () => {
  const socket = new Socket(hub.port, "admin-token", "/other");
  assert.equal(await until(() => socket.refused, "a refusal"), 404);
});

test("subscribed to patterns: what fits comes once, what does not fit does not come", async () => {
  const socket = await Socket.open(hub.port);
  assert.deepEqual(
    (await socket.asks({ id: 1, type: "subscribe", events: ["door/*", "*/front"] })).result.events,
    ["door/*", "*/front"],
  );
  const other = await Socket.open(hub.port);
  for (const type of ["window", "door/front", "doorbell", "door/last"]) {
    assert.equal(
      (await other.asks({ id: type, type: "publish", event: { type, data: { from: type } } })).ok,
      true,
    );
  }
  await socket.hears((said) => said.event?.type === "door/last");
  const events = socket.heard.filter((said) => said.type === "event").map((said) => said.event);
  assert.deepEqual(
    events.map((event) => event.type),
    ["door/front", "door/last"],
  );
  assert.deepEqual([events[0].data, events[0].source], [{ from: "door/front" }, "admin"]);
  await socket.asks({ id: 2, type: "unsubscribe", events: ["door/*"] });
  await other.asks({ id: "a", type: "publish", event: { type: "door/more" } });
  await other.asks({ id: "b", type: "publish", event: { type: "x/front" } });
  await socket.hears((said) => said.event?.type === "x/front");
  assert.ok(!socket.heard.some((said) => said.event?.type === "door/more"));
});

test("events over REST reach WebSockets, and theirs reach REST", async () => {
  const socket = await Socket.open(hub.port);
  await socket.asks({ id: 1, type: "subscribe", events: ["from/*"] });
  await hub.ask("POST", "/api/events", { body: { type: "from/rest", data: 7 } });
  assert.equal((await socket.hears((said) => said.type === "event")).event.data, 7);
  await socket.asks({ id: 2, type: "publish", event: { type: "from/socket" } });
  const { json } = await hub.ask("GET", "/api/events?type=from/*");
  assert.deepEqual(
    json.events.map((one: { type: string }) => one.type),
    ["from/rest", "from/socket"],
  );
});

test("calls, several at once; each answer bears its question's id", async () => {
  const socket = await Socket.open(hub.port);
  const slow = socket.asks({
    id: "slow",
    type: "call",
    server: "home",
    tool: "slow",
    arguments: { ms: 300 },
  });
  const quick = await socket.asks({
    id: "quick",
    type: "call",
    server: "home",
    tool: "intent__HassTurnOn",
    arguments: { name: "x" },
  });
  assert.equal(quick.result.content[0].text, "on: x");
  assert.ok(!socket.heard.some((said) => said.id === "slow"));
  assert.equal((await slow).result.content[0].text, "done");
  assert.deepEqual((await socket.asks({ id: 3, type: "servers" })).result[0].state, "connected");
  assert.equal((await socket.asks({ id: 4, type: "tools" })).result.length, 4);
  assert.equal((await socket.asks({ id: 5, type: "ping" })).type, "pong");
});

for (const [what, token, words, status] of [
  ["publish without the scope", "reader-token", { type: "publish", event: { type: "x" } }, 403],
  ["call without the scope", "reader-token", { type: "call", server: "home", tool: "secret" }, 403],
  ["subscribe without the scope", "caller-token", { type: "subscribe", events: ["*"] }, 403],
  ["tools without the scope", "caller-token", { type: "tools" }, 403],
  ["servers without the scope", "caller-token", { type: "servers" }, 403],
  ["a tool that is not granted", "lamp-token", { type: "call", server: "home", tool: "secret" }, 403],
  ["an unknown tool", "admin-token", { type: "call", server: "home", tool: "nothing" }, 404],
  [
    "bad arguments",
    "admin-token",
    { type: "call", server: "home", tool: "slow", arguments: { ms: "long" } },
    400,
  ],
  ["a tool that fails", "admin-token", { type: "call", server: "home", tool: "fail" }, 502],
  ["an unknown type", "admin-token", { type: "dance" }, 400],
  ["an unknown field", "admin-token", { type: "ping", colour: "red" }, 400],
  ["no patterns", "admin-token", { type: "subscribe", events: [] }, 400],
  ["a bad event type", "admin-token", { type: "publish", event: { type: "a//b" } }, 400],
  ["a second auth", "admin-token", { type: "auth", token: "admin-token" }, 400],
] as const) {
  test(`refused, and the connection lives: ${what}`, async () => {
    const socket = await Socket.open(hub.port, token);
    const { ok, error } = await socket.asks({ id: 1, ...words });
    assert.deepEqual([ok, error.status], [false, status]);
    assert.equal((await socket.asks({ id: 2, type: "ping" })).type, "pong");
  });
}

test("refused: what is not JSON (the connection lives), what is too big (it does not)", async () => {
  const socket = await Socket.open(hub.port);
  socket.say("{nonsense");
  assert.equal((await socket.hears((said) => said.ok === false)).error.code, "bad_json");
  socket.say({ type: "publish", event: { type: "x", data: "x".repeat(70_000) } });
  assert.equal((await until(() => socket.closed, "closed")).code, 1009);
});

test("patterns are bounded", async () => {
  const socket = await Socket.open(hub.port);
  const some = (n: number) => Array.from({ length: 100 }, (_, at) => `p${n}-${at}`);
  await socket.asks({ id: 1, type: "subscribe", events: some(1) });
  await socket.asks({ id: 2, type: "subscribe", events: some(2) });
  assert.equal(
    (await socket.asks({ id: 3, type: "subscribe", events: ["one more"] })).error.code,
    "too_many",
  );
});

test("a client that does not answer pings is dropped, one that does is kept", async () => {
  const lively = await Socket.open(hub.port);
  const dead = await Socket.open(hub.port);
  // @ts-expect-error the library's own: no pong from here on.
  dead.socket._receiver.removeAllListeners("ping");
  await until(() => dead.closed, "the dead one is dropped");
  assert.equal(lively.closed, undefined);
});

test("a slow client is dropped, the others hear all", async () => {
  const own = await new TestHub({
    limits: { bodyBytes: 1024 * 1024, webSocketQueueBytes: 2 * 1024 * 1024 },
  }).start();
  const slow = await Socket.open(own.port);
  const quick = await Socket.open(own.port);
  for (const socket of [slow, quick]) await socket.asks({ id: 1, type: "subscribe", events: ["flood"] });
  slow.socket.pause();
  const sender = await Socket.open(own.port);
  let sent = 0;
  await until(async () => {
    sent += 1;
    await sender.asks({ id: sent, type: "publish", event: { type: "flood", data: "x".repeat(900_000) } });
    return own.lines.some((line) => line.includes("slow WebSocket"));
  }, "the slow client is dropped");
  await until(
    () => quick.heard.filter((said) => said.type === "event").length === sent,
    "the quick one hears all",
  );
  slow.socket.resume();
  await until(() => slow.closed, "closed");
  assert.equal(quick.closed, undefined);
});

test("WebSockets are bounded in number", async () => {
  const few = await new TestHub({ limits: { webSockets: 1 } }).start();
  const first = await Socket.open(few.port);
  const second = new Socket(few.port, "admin-token");
  assert.equal(await until(() => second.refused, "a refusal"), 503);
  first.socket.close();
  await until(() => first.closed, "closed");
  await until(async () => (await Socket.open(few.port)) !== undefined, "room again");
});

test("after a reload a token that is gone, or has other rights, ends its connections only", async () => {
  const own = await new TestHub().start();
  const [admin, reader, caller] = [
    await Socket.open(own.port),
    await Socket.open(own.port, "reader-token"),
    await Socket.open(own.port, "caller-token"),
  ];
  const clients = {
    admin: CLIENTS.admin,
    caller: { ...CLIENTS.caller, scopes: ["read"] },
    fresh: { tokenSha256: sha256("fresh-token"), scopes: ["read"] },
  };
  assert.equal(await own.hub.reload(loaded({ clients })), false);
  assert.equal((await until(() => reader.closed, "closed")).code, 4401);
  assert.equal((await until(() => caller.closed, "closed")).code, 4401);
  assert.equal((await admin.asks({ id: 1, type: "ping" })).type, "pong");
  assert.equal((await own.ask("GET", "/api/tools", { token: "reader-token" })).status, 401);
  assert.equal((await own.ask("GET", "/api/tools", { token: "fresh-token" })).status, 200);
});

test("when the hub stops, clients are told", async () => {
  const own = await new TestHub().start();
  const socket = await Socket.open(own.port);
  await own.hub.stop();
  assert.equal((await until(() => socket.closed, "closed")).code, 1001);
});
