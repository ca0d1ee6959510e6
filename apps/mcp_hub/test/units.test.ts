import assert from "node:assert/strict";
import { test } from "node:test";
import { ClientAddress } from "../src/address.js";
import { Doorkeeper, FailureLimit, Grants, bearer } from "../src/auth.js";
import { Backoff } from "../src/backoff.js";
import { text } from "../src/errors.js";
import { EventBus } from "../src/events.js";
import { matches } from "../src/glob.js";
import { ArgumentChecks } from "../src/arguments.js";
import { Log } from "../src/log.js";
import { CLIENTS, loaded, sha256 } from "./kit/hub.js";

test("patterns", () => {
  const fits = (pattern: string, ...texts: string[]) =>
    assert.deepEqual(
      texts.filter((one) => !matches(pattern, one)),
      [],
      pattern,
    );
  const fitsNot = (pattern: string, ...texts: string[]) =>
    assert.deepEqual(
      texts.filter((one) => matches(pattern, one)),
      [],
      pattern,
    );
  fits("*", "", "a", "a/b");
  fits("a", "a");
  fitsNot("a", "", "aa", "b", "A");
  fits("a*", "a", "ab", "a/b");
  fitsNot("a*", "ba");
  fits("*a", "a", "ba");
  fits("a*b*c", "abc", "axbxc", "abbc", "abcc");
  fitsNot("a*b*c", "acb", "ab", "abcd");
  fitsNot("ab*ba", "aba");
  fitsNot("a.c", "abc");
  const begun = performance.now();
  fitsNot(`${"a*".repeat(50)}b`, "a".repeat(20_000));
  assert.ok(performance.now() - begun < 1000, "no pattern takes for ever");
});

test("waits double up to the most, vary by a quarter, and begin anew", () => {
  const all = (random: number) => {
    const backoff = new Backoff(100, 1000, () => random);
    return Array.from({ length: 6 }, () => backoff.next());
  };
  assert.deepEqual(all(1), [100, 200, 400, 800, 1000, 1000]);
  assert.deepEqual(all(0), [75, 150, 300, 600, 750, 750]);
  const backoff = new Backoff(100, 1000, () => 1);
  backoff.next();
  backoff.next();
  backoff.reset();
  assert.equal(backoff.next(), 100);
});

test("X-Forwarded-For counts from our own proxies only", () => {
  const plain = new ClientAddress([]);
  const known = new ClientAddress(["192.168.1.134", "10.0.0.0/24"]);
  assert.equal(plain.of("127.0.0.1", "192.168.1.50"), "192.168.1.50");
  assert.equal(plain.of("::1", "192.168.1.50"), "192.168.1.50");
  assert.equal(plain.of("::ffff:127.0.0.1", "192.168.1.50"), "192.168.1.50");
  assert.equal(plain.of("192.168.1.9", "192.168.1.50"), "192.168.1.9", "a stranger says what it likes");
  assert.equal(plain.of("127.0.0.1", "6.6.6.6, 192.168.1.50"), "192.168.1.50", "the proxy's word comes last");
  assert.equal(plain.of("127.0.0.1", undefined), "127.0.0.1");
  assert.equal(plain.of("127.0.0.1", "nonsense"), "127.0.0.1");
  assert.equal(plain.of("127.0.0.1", "6.6.6.6, 192.168.1.134"), "192.168.1.134");
  assert.equal(known.of("127.0.0.1", "6.6.6.6, 192.168.1.134"), "6.6.6.6");
  assert.equal(known.of("127.0.0.1", "fd00::7, 10.0.0.9, 192.168.1.134"), "fd00::7");
});

test("failures are counted a minute, for a bounded number of addresses", () => {
  let now = 0;
  const limit = new FailureLimit(2, () => now, 3);
  assert.deepEqual([limit.count("a"), limit.count("a"), limit.count("a")], [0, 0, 60]);
  now = 59_000;
  assert.equal(limit.count("a"), 1);
  now = 60_000;
  assert.equal(limit.count("a"), 0, "a new minute");
  for (const address of ["b", "c", "d", "e"]) limit.count(address);
  assert.equal((limit as unknown as { failures: Map<string, unknown> }).failures.size, 3);
});

test("tokens: any of a client's hashes, none of anybody else's", () => {
  const { config } = loaded({
    clients: { ...CLIENTS, two: { tokenSha256: [sha256("old"), sha256("new")], scopes: ["read"] } },
  });
  const doorkeeper = new Doorkeeper(config.clients, new FailureLimit(9));
  assert.equal(doorkeeper.find("admin-token")?.name, "admin");
  assert.deepEqual([doorkeeper.find("old")?.name, doorkeeper.find("new")?.name], ["two", "two"]);
  for (const wrong of ["", "admin-toke", "admin-token ", sha256("admin-token")])
    assert.equal(doorkeeper.find(wrong), undefined);
});

test("the bearer header", () => {
  assert.equal(bearer("Bearer abc"), "abc");
  assert.equal(bearer("bearer  abc"), "abc");
  for (const wrong of [undefined, "", "Bearer", "Bearer ", "Basic abc", "abc", "Bearer a b", "xBearer abc"])
    assert.equal(bearer(wrong), undefined);
});

test("grants by pattern", () => {
  const grants = new Grants("x", ["call"], ["home/intent__*", "*/public"]);
  assert.deepEqual(
    [grants.mayUse("home", "intent__On"), grants.mayUse("home", "secret"), grants.mayUse("other", "public")],
    [true, false, true],
  );
  assert.ok(grants.maySee("other"));
  assert.ok(!new Grants("x", ["call"], ["home/*"]).maySee("homework"));
  assert.ok(new Grants("x", []).mayUse("any", "thing"));
});

test("a log line is one line of JSON, from its level up, without secrets", () => {
  const lines: string[] = [];
  const log = new Log("warn", (line) => lines.push(line));
  log.hide(["hunter2hunter2", "x"]);
  log.info("unseen");
  log.warn("first\nsecond", { token: "Bearer hunter2hunter2", extra: 1 });
  assert.equal(lines.length, 1);
  assert.ok(!lines[0]?.includes("\n"));
  const said = JSON.parse(lines[0] ?? "");
  assert.deepEqual(
    [said.level, said.message, said.token, said.extra],
    ["warn", "first\nsecond", "Bearer [secret]", 1],
  );
});

test("an error in words: its cause, one line, bounded", () => {
  assert.equal(text(new TypeError("fetch failed", { cause: new Error("refused") })), "fetch failed: refused");
  assert.equal(text(new Error("a\n  b")), "a b");
  assert.ok(text(new Error("x".repeat(5000))).length < 400);
});

test("a listener that fails hurts nobody else", () => {
  const bus = new EventBus(2, new Log("error", () => undefined));
  const heard: string[] = [];
  bus.listen(() => {
    throw new Error("oops");
  });
  const unlisten = bus.listen((event) => heard.push(event.type));
  bus.publish("a", 1, "x");
  unlisten();
  bus.publish("b", undefined, "x");
  assert.deepEqual(heard, ["a"]);
  assert.equal(bus.recent()[1]?.data, null);
});

test("arguments: draft 7 and 2020-12, formats; a schema that makes no sense lets all pass", () => {
  const lines: string[] = [];
  const checks = new ArgumentChecks(new Log("warn", (line) => lines.push(line)));
  const tool = (name: string, schema: object) => ({
    name,
    inputSchema: { type: "object" as const, ...schema },
  });
  const draft7 = tool("old", {
    $schema: "http://json-schema.org/draft-07/schema#",
    properties: { at: { type: "array", items: [{ type: "number" }] } },
  });
  assert.equal(checks.wrong(draft7, { at: [1] }), undefined);
  assert.match(checks.wrong(draft7, { at: ["x"] }) ?? "", /at\/0/);
  const now = tool("new", {
    $schema: "https://json-schema.org/draft/2020-12/schema",
    properties: { at: { prefixItems: [{ type: "number" }] }, mail: { format: "email", type: "string" } },
  });
  assert.match(checks.wrong(now, { at: ["x"] }) ?? "", /at\/0/);
  assert.match(checks.wrong(now, { mail: "nobody" }) ?? "", /email/);
  assert.equal(
    checks.wrong(tool("broken", { properties: { at: { $ref: "#/nowhere" } } }), { at: 1 }),
    undefined,
  );
  assert.equal(lines.length, 1);
});
