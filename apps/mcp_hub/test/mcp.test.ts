import assert from "node:assert/strict";
import { before, test } from "node:test";
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import type { Transport } from "@modelcontextprotocol/sdk/shared/transport.js";
import type { CallToolResult } from "@modelcontextprotocol/sdk/types.js";
import { atEnd } from "./kit/cleanup.js";
import { TestHub } from "./kit/hub.js";
import { HA_TOKEN, LikeHomeAssistant } from "./kit/servers.js";

const home = new LikeHomeAssistant();
let hub: TestHub;

before(async () => {
  await home.start();
  hub = await new TestHub(
    { servers: { home: { type: "http", url: home.url } } },
    { servers: { home: { token: HA_TOKEN } } },
  ).start();
  await hub.reaches("home", "connected");
});

async function client(token: string): Promise<Client> {
  const one = new Client({ name: "test", version: "1" });
  const requestInit = { headers: { Authorization: `Bearer ${token}` } };
  await one.connect(
    new StreamableHTTPClientTransport(new URL(`http://127.0.0.1:${hub.port}/mcp`), {
      requestInit,
    }) as Transport,
  );
  atEnd(() => one.close());
  return one;
}

const text = (result: unknown) =>
  (result as CallToolResult).content.map((part) => (part.type === "text" ? part.text : "")).join("");

test("the official client lists and calls the tools of all servers", async () => {
  const one = await client("admin-token");
  const { tools } = await one.listTools();
  assert.deepEqual(
    tools.map((tool) => tool.name),
    ["home__intent__HassTurnOn", "home__slow", "home__fail", "home__secret"],
  );
  assert.deepEqual(tools[0]?.inputSchema.required, ["name"]);
  assert.equal(
    text(await one.callTool({ name: "home__intent__HassTurnOn", arguments: { name: "hall" } })),
    "on: hall",
  );
});

test("what cannot be done is told as a failed tool", async () => {
  const one = await client("admin-token");
  for (const [name, args, words] of [
    ["home__fail", {}, /bulb/],
    ["home__nothing", {}, /no tool/],
    ["nowhere__x", {}, /no server/],
    ["plain", {}, /no server/],
    ["home__slow", { ms: "long" }, /number/],
  ] as const) {
    const result = await one.callTool({ name, arguments: args });
    assert.equal(result.isError, true);
    assert.match(text(result), words);
  }
});

test("the same rights as over REST", async () => {
  await assert.rejects(client("bad"), /401|token/);
  const lamp = await client("lamp-token");
  assert.deepEqual(
    (await lamp.listTools()).tools.map((tool) => tool.name),
    ["home__intent__HassTurnOn"],
  );
  assert.match(text(await lamp.callTool({ name: "home__secret" })), /may not/);
  assert.match(text(await (await client("reader-token")).callTool({ name: "home__secret" })), /lacks/);
  await assert.rejects((await client("caller-token")).listTools(), /lacks/);
});

test("GET is not answered with a channel", async () => {
  assert.equal((await hub.ask("GET", "/mcp")).status, 405);
});

test("a hub is a server to another hub", async () => {
  const servers = { first: { type: "http", url: `http://127.0.0.1:${hub.port}/mcp` } };
  const second = await new TestHub({ servers }, { servers: { first: { token: "admin-token" } } }).start();
  await second.reaches("first", "connected");
  const { json } = await second.call("first/home__intent__HassTurnOn", { name: "far" });
  assert.equal(json.result.content[0].text, "on: far");
});
