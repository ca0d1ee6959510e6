/** The shapes of what clients send. */

import { z } from "zod";
import { HubError } from "./errors.js";
import { field } from "./problems.js";

export const args = z.record(z.string(), z.unknown());
export const callBody = z.strictObject({ arguments: args.default({}) });
export const eventBody = z.strictObject({ type: z.string(), data: z.unknown().optional() });
export const mqttCall = z.strictObject({
  id: z
    .string()
    .regex(/^[A-Za-z0-9_-]{1,64}$/)
    .optional(),
  arguments: args.default({}),
});

const id = z.union([z.string().max(100), z.number()]).optional();
const patterns = z.array(z.string().min(1).max(200)).min(1).max(100);

export const message = z.discriminatedUnion("type", [
  z.strictObject({ type: z.literal("auth"), id, token: z.string() }),
  z.strictObject({ type: z.literal("ping"), id }),
  z.strictObject({ type: z.literal("subscribe"), id, events: patterns }),
  z.strictObject({ type: z.literal("unsubscribe"), id, events: patterns }),
  z.strictObject({ type: z.literal("publish"), id, event: eventBody }),
  z.strictObject({ type: z.literal("servers"), id }),
  z.strictObject({ type: z.literal("tools"), id }),
  z.strictObject({
    type: z.literal("call"),
    id,
    server: z.string(),
    tool: z.string(),
    arguments: args.default({}),
  }),
]);

export type Message = z.output<typeof message>;

/** The value in this shape. @throws HubError 400 that names the field. */
export function shaped<S extends z.ZodType>(schema: S, value: unknown): z.output<S> {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  throw new HubError(
    400,
    "bad_request",
    issue ? `${field(issue.path)}: ${issue.message}` : "not what was expected",
  );
}
