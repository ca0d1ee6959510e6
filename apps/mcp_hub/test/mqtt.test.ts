import assert from "node:assert/strict";
import { before, test } from "node:test";
import { QUICK, TestHub, loaded } from "./kit/hub.js";
import { Broker } from "./kit/broker.js";
import { certificates } from "./kit/files.js";
import { HA_TOKEN, LikeHomeAssistant } from "./kit/servers.js";
import { until } from "./kit/poll.js";

const home = new LikeHomeAssistant();
const broker = new Broker();
const secrets = { servers: { home: { token: HA_TOKEN } } };
let servers: object;
let hub: TestHub;
let count = 0;

before(async () => {
  await home.start();
  await broker.start();
  servers = { home: { type: "http", url: home.url } };
  hub = await hubOn(broker, {});
  await hub.reaches("home", "connected");
});

async function hubOn(on: Broker, mqtt: object, timing = QUICK): Promise<TestHub> {
  count += 1;
  const config = {
    servers,
    mqtt: { url: on.url, clientId: `hub-${count}`, prefix: `hub${count}`, ...mqtt },
    limits: { bodyBytes: 2048 },
  };
  const one = await new TestHub(config, secrets, timing).start();
  await one.reaches("mqtt", "connected");
  return one;
}

const typesIn = async (one: TestHub) =>
  (await one.ask("GET", "/api/events?limit=500")).json.events
    .map((event: { type: string }) => event.type)
    .filter((type: string) => !type.startsWith("hub/"));

test("an event goes out once, its data as it is, its id and source beside it", async () => {
  const { heard } = await broker.listener(["hub1/events/#"]);
  const { json } = await hub.ask("POST", "/api/events", {
    body: { type: "door/front", data: { open: true } },
  });
  const message = await until(
    () => heard.find((one) => one.topic === "hub1/events/door/front"),
    "the message",
  );
  assert.deepEqual(JSON.parse(message.text), { open: true });
  assert.equal(message.properties.userProperties.id, json.event.id);
  assert.equal(message.properties.userProperties.source, "admin");
  assert.equal(message.retain, false);
  await hub.ask("POST", "/api/events", { body: { type: "door/last" } });
  await until(() => heard.some((one) => one.topic.endsWith("door/last")), "the next");
  assert.equal(heard.filter((one) => one.topic.endsWith("door/front")).length, 1);
  assert.equal((await typesIn(hub)).filter((type: string) => type === "door/front").length, 1, "no echo");
});

test("an event comes in, JSON or plain words, and does not go back out", async () => {
  const { client, heard } = await broker.listener(["hub1/events/in/#"]);
  await client.publishAsync("hub1/events/in/json", '{"t": 21.5}');
  await client.publishAsync("hub1/events/in/words", "pressed");
  await until(async () => (await typesIn(hub)).includes("in/words"), "the events");
  const { json } = await hub.ask("GET", "/api/events?type=in/*");
  assert.deepEqual(
    json.events.map((one: { data: unknown; source: string }) => [one.data, one.source]),
    [
      [{ t: 21.5 }, "mqtt"],
      ["pressed", "mqtt"],
    ],
  );
  await client.publishAsync("hub1/events/in/end", "1");
  await until(() => heard.some((one) => one.topic.endsWith("/end")), "the last");
  assert.equal(heard.length, 3, "each was on the broker once");
});

test("our own event that comes back over another broker is known by its id", async () => {
  const { client } = await broker.listener(["hub1/none"]);
  const { json } = await hub.ask("POST", "/api/events", { body: { type: "round", data: 1 } });
  await client.publishAsync("hub1/events/round", "1", {
    properties: { userProperties: { id: json.event.id } },
  });
  await client.publishAsync("hub1/events/after", "1");
  await until(async () => (await typesIn(hub)).includes("after"), "the next one");
  assert.equal((await typesIn(hub)).filter((type: string) => type === "round").length, 1);
});

test("two hubs on one prefix hear each other, without a loop", async () => {
  const [one, other] = [await hubOn(broker, { prefix: "shared" }), await hubOn(broker, { prefix: "shared" })];
  const { heard } = await broker.listener(["shared/events/#"]);
  await one.ask("POST", "/api/events", { body: { type: "hello" } });
  await until(async () => (await typesIn(other)).includes("hello"), "the other hub hears it");
  await other.ask("POST", "/api/events", { body: { type: "answer" } });
  await until(async () => (await typesIn(one)).includes("answer"), "the answer");
  assert.deepEqual(
    [await typesIn(one), await typesIn(other)],
    [
      ["hello", "answer"],
      ["hello", "answer"],
    ],
  );
  await until(() => heard.some((message) => message.topic === "shared/events/answer"), "the last one");
  assert.equal(heard.filter((message) => message.topic === "shared/events/hello").length, 1);
});

test("not taken: the hub's own types, types that cannot be, retained and oversized messages", async () => {
  const { client } = await broker.listener(["hub1/none"]);
  await client.publishAsync("hub1/events/hub/server", '{"server": "home", "state": "down"}');
  await client.publishAsync("hub1/events/a//b", "1");
  await client.publishAsync("hub1/events/large", "x".repeat(3000));
  await client.publishAsync("hub1/events/fine", "1");
  await until(async () => (await typesIn(hub)).includes("fine"), "the last");
  const types = (await hub.ask("GET", "/api/events?limit=500")).json.events;
  assert.ok(
    !types.some(
      (one: { type: string; source: string }) =>
        one.source === "mqtt" && /^hub\/|^large$|\/\//.test(one.type),
    ),
  );
  await client.publishAsync("late/events/old", "1", { retain: true, qos: 1 });
  await client.publishAsync("late/call/home/intent__HassTurnOn", '{"arguments": {"name": "ghost"}}', {
    retain: true,
    qos: 1,
  });
  const late = await hubOn(broker, { prefix: "late" });
  await late.reaches("home", "connected");
  await client.publishAsync("late/events/new", "1");
  await until(async () => (await typesIn(late)).includes("new"), "the new one");
  assert.deepEqual(await typesIn(late), ["new"]);
  assert.ok(!JSON.stringify(home.ran).includes("ghost"), "a call of yesterday is not made today");
});

test("a call is answered on the MQTT5 response topic with its correlation data", async () => {
  const { client, heard } = await broker.listener(["hub1/result/#"]);
  const properties = { responseTopic: "hub1/result/app/7", correlationData: Buffer.from("seven") };
  await client.publishAsync("hub1/call/home/intent__HassTurnOn", '{"arguments": {"name": "hall"}}', {
    qos: 1,
    properties,
  });
  const message = await until(() => heard.find((one) => one.topic === "hub1/result/app/7"), "the answer");
  assert.equal(String(message.properties.correlationData), "seven");
  const { ok, result } = JSON.parse(message.text);
  assert.deepEqual([ok, result.content[0].text], [true, "on: hall"]);
});

test("a call with an id is answered on result/ID", async () => {
  const { client, heard } = await broker.listener(["hub1/result/#"]);
  const ask = async (topic: string, body: unknown, id: string) => {
    await client.publishAsync(`hub1/call/${topic}`, JSON.stringify(body), { qos: 1 });
    return JSON.parse((await until(() => heard.find((one) => one.topic === `hub1/result/${id}`), id)).text);
  };
  assert.deepEqual((await ask("home/secret", { id: "a1" }, "a1")).result.content[0].text, "42");
  const codes = [
    (await ask("home/nothing", { id: "b" }, "b")).error,
    (await ask("nowhere/x", { id: "c" }, "c")).error,
    (await ask("home/slow", { id: "d", arguments: { ms: "long" } }, "d")).error,
    (await ask("home/fail", { id: "e" }, "e")).error,
    (await ask("home", { id: "f" }, "f")).error,
  ].map(({ code, status }) => [status, code]);
  assert.deepEqual(codes, [
    [404, "unknown_tool"],
    [404, "unknown_server"],
    [400, "bad_arguments"],
    [502, "tool_failed"],
    [404, "unknown_tool"],
  ]);
});

test("a malformed call is answered where an answer can go", async () => {
  const { client, heard } = await broker.listener(["hub1/result/#"]);
  await client.publishAsync("hub1/call/home/secret", "{nonsense", {
    properties: { responseTopic: "hub1/result/bad" },
  });
  const { ok, error } = JSON.parse((await until(() => heard[0], "the answer")).text);
  assert.deepEqual([ok, error.code], [false, "bad_json"]);
});

test("the hub does not lend its rights: response topics elsewhere are not used, unless configured", async () => {
  const { client, heard } = await broker.listener([
    "lamp/set",
    "hub1/result/#",
    "hub1/events/forged",
    "hub1/call/home/secret2",
    "app/answers",
  ]);
  for (const responseTopic of ["lamp/set", "hub1/events/forged", "hub1/call/home/secret2"]) {
    await client.publishAsync("hub1/call/home/secret", '{"id": "own"}', {
      qos: 1,
      properties: { responseTopic },
    });
  }
  await until(() => heard.filter((one) => one.topic === "hub1/result/own").length === 3, "three answers");
  assert.deepEqual([...new Set(heard.map((one) => one.topic))], ["hub1/result/own"]);
  const open = await hubOn(broker, { prefix: "open", responseTopics: ["app/*"] });
  await open.reaches("home", "connected");
  await client.publishAsync("open/call/home/secret", "", {
    qos: 1,
    properties: { responseTopic: "app/answers" },
  });
  await until(() => heard.find((one) => one.topic === "app/answers"), "the answer");
});

test("the MQTT side has rights of its own", async () => {
  const { client, heard } = await broker.listener(["own/#"]);
  const narrow = await hubOn(broker, { prefix: "own", tools: ["home/intent__*"], scopes: ["call"] });
  await narrow.reaches("home", "connected");
  await client.publishAsync("own/call/home/secret", '{"id": "x"}', { qos: 1 });
  const refused = await until(() => heard.find((one) => one.topic === "own/result/x"), "the answer");
  assert.equal(JSON.parse(refused.text).error.code, "tool_not_allowed");
  await client.publishAsync("own/events/in", "1", { qos: 1 });
  await narrow.ask("POST", "/api/events", { body: { type: "out" } });
  await client.publishAsync("own/call/home/intent__HassTurnOn", '{"id": "y", "arguments": {"name": "z"}}', {
    qos: 1,
  });
  assert.equal(
    JSON.parse((await until(() => heard.find((one) => one.topic === "own/result/y"), "the answer")).text).ok,
    true,
  );
  assert.ok(!heard.some((one) => one.topic === "own/events/out"), "without `read` nothing goes out");
  assert.deepEqual(await typesIn(narrow), ["out"], "without `publish` nothing comes in");
});

test("availability: online retained, offline at a clean end and by the last will", async () => {
  const status = async () => {
    const { client, heard } = await broker.listener(["avail/status"]);
    const { text, retain } = await until(() => heard[0], "a status");
    client.end(true);
    return [text, retain];
  };
  const one = await hubOn(broker, { prefix: "avail" });
  assert.deepEqual(await status(), ["online", true]);
  await one.hub.stop();
  assert.deepEqual(await status(), ["offline", true]);
  await hubOn(broker, { prefix: "avail", clientId: "taken" });
  assert.deepEqual(await status(), ["online", true]);
  const { heard } = await broker.listener(["avail/status"]);
  // Another client of the same name: the broker throws the hub out without a goodbye.
  const { client } = await broker.listener(["x"], { clientId: "taken", reconnectPeriod: 0 });
  await until(() => heard.some((message) => message.text === "offline"), "the last will");
  client.end(true);
  await until(() => heard.at(-1)?.text === "online", "it comes back by itself");
});

test("a broker that dies and returns: known in health, events kept for it (the newest), calls work again", async () => {
  const own = new Broker();
  await own.start();
  const one = await hubOn(own, { queue: 2 });
  await one.reaches("home", "connected");
  await own.stop();
  await one.reaches("mqtt", "down");
  assert.equal((await one.ask("GET", "/health", { token: "" })).json.status, "degraded");
  for (const type of ["lost", "kept/1", "kept/2"]) await one.ask("POST", "/api/events", { body: { type } });
  assert.equal((await one.call("home/secret")).status, 200, "the rest goes on");
  await own.start();
  const prefix = `hub${count}`;
  const { client, heard } = await own.listener([`${prefix}/#`]);
  await one.reaches("mqtt", "connected");
  await client.publishAsync(`${prefix}/call/home/secret`, '{"id": "again"}', { qos: 1 });
  await until(() => heard.some((message) => message.topic.endsWith("result/again")), "an answer");
  await one.ask("POST", "/api/events", { body: { type: "after" } });
  await until(() => heard.some((message) => message.topic.endsWith("events/after")), "an event");
  assert.ok(!heard.some((message) => message.topic.endsWith("/lost")));
});

test("events kept while the broker was away arrive in order", async () => {
  const own = new Broker();
  await own.start();
  const one = await hubOn(own, { queue: 2 }, { ...QUICK, retry: [1500, 1500] });
  const prefix = `hub${count}`;
  const { heard } = await own.listener([`${prefix}/events/#`]);
  await own.stop();
  await one.reaches("mqtt", "down");
  for (const type of ["lost", "kept/1", "kept/2"]) await one.ask("POST", "/api/events", { body: { type } });
  // The listener asks every 50 ms, the hub after a second at the earliest: nothing is sent before it listens.
  await own.start();
  await until(() => heard.some((message) => message.topic.endsWith("kept/2")), "the kept events");
  assert.deepEqual(
    heard
      .map((message) => message.topic.split("/").slice(2).join("/"))
      .filter((type) => !type.startsWith("hub/")),
    ["kept/1", "kept/2"],
  );
});

test("TLS with our authority and a password; a wrong authority or password is down, and mends by itself", async () => {
  const pair = certificates();
  const tls = new Broker(pair);
  await tls.start({ hub: "a-password" });
  const mqtt = { url: tls.url, username: "hub", prefix: "tls" };
  const all = { mqtt: { password: "a-password" } };
  const good = await new TestHub({ mqtt: { ...mqtt, clientId: "good", caFile: pair.ca } }, all).start();
  await good.reaches("mqtt", "connected");
  const stranger = await new TestHub(
    { mqtt: { ...mqtt, clientId: "stranger", caFile: certificates("two").ca } },
    all,
  ).start();
  const unknown = await new TestHub({ mqtt: { ...mqtt, clientId: "unknown" } }, all).start();
  const late = await new TestHub(
    { mqtt: { ...mqtt, clientId: "late", caFile: pair.ca } },
    { mqtt: { password: "tomorrows-password" } },
  ).start();
  for (const one of [stranger, unknown, late]) await one.reaches("mqtt", "down");
  assert.match(stranger.lines.join("\n"), /certificate|signature/);
  await tls.stop();
  await tls.start({ hub: "tomorrows-password" });
  await late.reaches("mqtt", "connected");
  await good.reaches("mqtt", "down");
  await stranger.reaches("mqtt", "down");
  assert.ok(![good, late].some((one) => /a-password|tomorrows/.test(one.lines.join("\n"))));
});

test("a new password is taken over by a reload, at once where the old one is refused", async () => {
  const own = await new Broker().start({ hub: "tomorrows-password" });
  const mqtt = { url: own.url, username: "hub", prefix: "renewed" };
  const never: [number, number] = [60_000, 60_000];
  const one = await new TestHub(
    { mqtt },
    { mqtt: { password: "todays-password" } },
    { retry: never, refused: never },
  ).start();
  await one.reaches("mqtt", "down");
  const restart = await one.hub.reload(loaded({ mqtt }, { mqtt: { password: "tomorrows-password" } }));
  assert.equal(restart, false);
  await one.reaches("mqtt", "connected");
});
