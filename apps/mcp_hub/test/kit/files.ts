import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { atEnd } from "./cleanup.js";

/** A folder that goes when the test file ends. */
export function folder(): string {
  const path = mkdtempSync(join(tmpdir(), "mcp-hub-test-"));
  atEnd(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

export function put(path: string, value: unknown, mode = 0o600): string {
  writeFileSync(path, typeof value === "string" ? value : JSON.stringify(value), { mode });
  return path;
}

/** A TCP port of loopback that nobody used a moment ago. */
export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

export interface Certificates {
  ca: string;
  cert: string;
  key: string;
}

/** An authority of its own, and a certificate of it for 127.0.0.1, as files. */
export function certificates(name = "one"): Certificates {
  const at = folder();
  const run = (...args: string[]) => execFileSync("openssl", args, { cwd: at, stdio: "pipe" });
  const ec = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
  run(
    "req",
    "-x509",
    ...ec,
    "-keyout",
    "ca.key",
    "-out",
    "ca.pem",
    "-subj",
    `/CN=authority ${name}`,
    "-days",
    "2",
  );
  run("req", ...ec, "-keyout", "server.key", "-out", "server.csr", "-subj", "/CN=localhost");
  put(join(at, "ext"), "subjectAltName=IP:127.0.0.1,DNS:localhost\n");
  run(
    "x509",
    "-req",
    "-in",
    "server.csr",
    "-CA",
    "ca.pem",
    "-CAkey",
    "ca.key",
    "-CAcreateserial",
    "-out",
    "server.pem",
    "-days",
    "2",
    "-extfile",
    "ext",
  );
  return { ca: join(at, "ca.pem"), cert: join(at, "server.pem"), key: join(at, "server.key") };
}
