/** Checks a tool's arguments against its own schema before they travel. */

import { Ajv } from "ajv";
import { Ajv2020 } from "ajv/dist/2020.js";
import formats from "ajv-formats";
import type { Tool } from "@modelcontextprotocol/sdk/types.js";
import { text } from "./errors.js";
import type { Log } from "./log.js";

type Check = (value: unknown) => string | undefined;

/** One for each list of tools: ajv keeps every schema it has compiled. */
export class ArgumentChecks {
  private readonly checks = new Map<string, Check>();

  constructor(private readonly log: Log) {}

  /** What is wrong with the arguments, or undefined. A schema that cannot be compiled lets all pass: the server decides. */
  wrong(tool: Tool, value: unknown): string | undefined {
    let check = this.checks.get(tool.name);
    if (!check) {
      check = this.compile(tool);
      this.checks.set(tool.name, check);
    }
    return check(value);
  }

  private compile(tool: Tool): Check {
    const options = { strict: false, allErrors: false, validateSchema: false, logger: false } as const;
    // Without `$schema` it is 2020-12, says MCP; zod's converter writes draft-07.
    const draft7 = String(tool.inputSchema["$schema"] ?? "").includes("draft-07");
    const ajv = draft7 ? new Ajv(options) : new Ajv2020(options);
    try {
      formats.default(ajv);
      const validate = ajv.compile(tool.inputSchema);
      return (value) =>
        validate(value) ? undefined : ajv.errorsText(validate.errors, { dataVar: "arguments" });
    } catch (error) {
      this.log.warn("a tool's schema cannot be compiled, its arguments go unchecked", {
        tool: tool.name,
        error: text(error),
      });
      return () => undefined;
    }
  }
}
