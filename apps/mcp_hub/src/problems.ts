/** Findings of zod in words: file, field, what is wrong, what would be right; never a value of a secret. */

import type { z } from "zod";

/** A configuration that cannot be used; each problem is a line for the admin. */
export class ConfigError extends Error {
  constructor(readonly problems: readonly string[]) {
    super(problems.join("\n"));
  }
}

/** `FILE: FIELD: WRONG; expected RIGHT` for each finding. */
export function problemsOf(file: string, error: z.ZodError, expected: Record<string, string>): string[] {
  return error.issues
    .flatMap((issue) => flat(issue))
    .map((issue) => {
      const right = hint(issue.path, expected);
      return `${file}: ${field(issue.path)}: ${wrong(issue)}${right ? `; expected ${right}` : ""}`;
    });
}

/** A union reports all alternatives; those that went deepest are about what was meant. */
function flat(issue: z.core.$ZodIssue): z.core.$ZodIssue[] {
  if (issue.code !== "invalid_union" || issue.errors.length === 0) return [issue];
  const deep = issue.errors.flat().filter((inner) => inner.path.length > 0);
  return deep
    .map((inner) => ({ ...inner, path: [...issue.path, ...inner.path] }))
    .concat(deep.length ? [] : [issue]);
}

export function field(path: readonly PropertyKey[]): string {
  const words = path.map((step) => (typeof step === "number" ? `[${step}]` : `.${String(step)}`)).join("");
  return words.replace(/^\./, "") || "the whole file";
}

function hint(path: readonly PropertyKey[], expected: Record<string, string>): string | undefined {
  const keys = path.map(String);
  return Object.entries(expected).find(([pattern]) => {
    const parts = pattern === "" ? [] : pattern.split(".");
    return parts.length === keys.length && parts.every((part, at) => part === "*" || part === keys[at]);
  })?.[1];
}

function wrong(issue: z.core.$ZodIssue): string {
  switch (issue.code) {
    case "unrecognized_keys":
      return `unknown field ${issue.keys.map((key) => `\`${key}\``).join(", ")}`;
    case "invalid_type":
      return issue.message.includes("received undefined") ? "is missing" : `is not of type ${issue.expected}`;
    case "invalid_key":
      return "this name is not allowed";
    case "too_small":
      return `is too small, empty or too short (least: ${issue.minimum})`;
    case "too_big":
      return `is too big (most: ${issue.maximum})`;
    case "custom":
      return issue.message;
    default:
      return "this value is not allowed";
  }
}
