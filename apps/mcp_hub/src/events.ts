/** The event bus: what happened, the last few of it, and who wants to hear of it. */

import { randomUUID } from "node:crypto";
import { HubError, text } from "./errors.js";
import type { Log } from "./log.js";

export interface HubEvent {
  id: string;
  /** Levels of A-Z a-z 0-9 _ . : - with `/` between them, such as `doorbell/pressed`. */
  type: string;
  data: unknown;
  /** ISO 8601, UTC. */
  time: string;
  /** `hub`, `mqtt`, or the name of the client that published it. */
  source: string;
}

/** Types below this are the hub's own news: nobody else may publish them. */
export const RESERVED = "hub/";
const TYPE = /^(?=.{1,200}$)[A-Za-z0-9_.:-]+(\/[A-Za-z0-9_.:-]+)*$/;

export function isType(type: string): boolean {
  return TYPE.test(type);
}

export class EventBus {
  private readonly kept: HubEvent[] = [];
  private readonly listeners = new Set<(event: HubEvent) => void>();

  constructor(
    private readonly most: number,
    private readonly log: Log,
  ) {}

  /**
   * A client's event.
   *
   * @throws HubError 400 for a type that cannot be, or is the hub's own.
   */
  publish(type: string, data: unknown, source: string): HubEvent {
    if (!isType(type)) {
      throw new HubError(
        400,
        "bad_event",
        "an event's type is levels of A-Z a-z 0-9 _ . : - with / between them, at most 200 characters",
      );
    }
    if (type.startsWith(RESERVED))
      throw new HubError(400, "bad_event", `types below ${RESERVED} are the hub's own`);
    return this.emit(type, data, source);
  }

  /** Any event, the hub's own too; `id` for one that has one already. */
  emit(type: string, data: unknown, source: string, id: string = randomUUID()): HubEvent {
    const event = { id, type, data: data ?? null, time: new Date().toISOString(), source };
    this.kept.push(event);
    if (this.kept.length > this.most) this.kept.shift();
    for (const listener of this.listeners) this.tell(listener, event);
    return event;
  }

  /** The kept events, oldest first. */
  recent(): readonly HubEvent[] {
    return this.kept;
  }

  has(id: string): boolean {
    return this.kept.some((event) => event.id === id);
  }

  /** Call the listener for every event from now on; the result ends that. */
  listen(listener: (event: HubEvent) => void): () => void {
    this.listeners.add(listener);
    return () => void this.listeners.delete(listener);
  }

  private tell(listener: (event: HubEvent) => void, event: HubEvent): void {
    try {
      listener(event);
    } catch (error) {
      this.log.error("a listener failed", { type: event.type, error: text(error) });
    }
  }
}
