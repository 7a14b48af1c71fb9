/** A client of the HTTP API of Serendip for browsers and Node, on `fetch`; see docs/guide/clients.md. */
import { OPERATIONS, type EventIn, type ItemOut, type Operations } from "./api.js";

export * from "./api.js";

/** A request was refused, or nobody answered it. */
export class ApiError extends Error {
  /** HTTP status; 0 = there was no answer. */
  readonly status: number;
  /** Stable name for programs, such as `unknown_item`; `unreachable` without an answer, `proxy` of
   * an answer that is not the service's. */
  readonly type: string;
  /** The next step; empty = none. */
  readonly hint: string;
  /** Of the request in the log of the service; empty = it did not get there. */
  readonly requestId: string;
  /** Seconds after which the service asks to try again; 0 = it does not say. */
  readonly retryAfter: number;

  constructor(status: number, type: string, message: string, hint = "", requestId = "", retryAfter = 0) {
    super(message);
    this.name = "ApiError";
    this.status = status;
    this.type = type;
    this.hint = hint;
    this.requestId = requestId;
    this.retryAfter = retryAfter;
  }
}

export interface Options {
  /** One of `serendip keys create`; never in a page: let your server add it. Empty = none. */
  key?: string;
  /** How often a request is sent again that could not be answered. */
  retries?: number;
  /** Seconds that one attempt may take. */
  timeout?: number;
  /** Events per request, and seconds for which the first of them waits for others. */
  batch?: number;
  batchSeconds?: number;
}

const NOT_NOW = [0, 429, 503]; // statuses after which a request is sent again: none stores twice
const REFUSED = [400, 413, 422]; // statuses that are the fault of an event
const BACKOFF_S = 0.25; // at most before the first retry; twice as long before each further one
const MAX_WAIT_S = 30; // before a retry, whatever the service asks for
const MAX_KEEPALIVE = 20000; // characters, of at most three bytes
const MAX_WAITING = 10000; // events that wait for a service that does not answer

// Each operation of the API is a method, made from `OPERATIONS`.
export interface Client extends Operations {}

export class Client {
  readonly #address: string;
  readonly #options: Required<Options>;
  #waiting: EventIn[] = [];
  #timer: ReturnType<typeof setTimeout> | undefined;
  #sending: Promise<number> | undefined;

  /** The address is that of the service; empty = where the page came from. */
  constructor(address = "", options: Options = {}) {
    this.#address = address.replace(/\/$/, "");
    this.#options = { key: "", retries: 3, timeout: 10, batch: 50, batchSeconds: 1, ...options };
    globalThis.document?.addEventListener("visibilitychange", () => {
      if (document.visibilityState === "hidden") void this.flush();
    });
  }

  /** The whole catalogue, in the order of the ids. */
  async *allItems(limit = 1000): AsyncGenerator<ItemOut, void, undefined> {
    let cursor = "";
    do {
      const page = await this.listItems({ cursor, limit });
      yield* page.items;
      cursor = page.cursor;
    } while (cursor);
  }

  /** Send an event in the background, with others; a page that is left sends what waits. */
  record(event: EventIn): void {
    if (this.#waiting.length >= MAX_WAITING) {
      console.error(`an event is dropped: ${MAX_WAITING} others wait for the service`);
      return;
    }
    this.#waiting.push({ event_id: newId(), timestamp: Date.now() / 1000, ...event });
    if (this.#waiting.length >= this.#options.batch) void this.flush();
    else this.#timer ??= setTimeout(() => void this.flush(), this.#options.batchSeconds * 1000);
  }

  /** Send recorded events now; the number of those that could not be stored yet. */
  flush(): Promise<number> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#sending ??= this.#sendWaiting().finally(() => (this.#sending = undefined));
    return this.#sending;
  }

  async #sendWaiting(): Promise<number> {
    while (this.#waiting.length) {
      const batch = this.#waiting.slice(0, this.#options.batch);
      if (!(await this.#store(batch))) {
        this.#timer ??= setTimeout(() => void this.flush(), this.#options.batchSeconds * 1000);
        break;
      }
      this.#waiting.splice(0, batch.length);
    }
    return this.#waiting.length;
  }

  /** Whether each event is stored, or refused for what it is; each has an id and is stored once. */
  async #store(batch: EventIn[]): Promise<boolean> {
    try {
      await this.addEvents(batch);
    } catch (error) {
      if (!(error instanceof ApiError && REFUSED.includes(error.status))) return false;
      if (batch.length === 1) {
        console.error(`an event is dropped, as it was refused: ${error.message}`);
        return true;
      }
      const middle = batch.length >> 1; // one invalid event rejects all of its request
      return (await this.#store(batch.slice(0, middle))) && this.#store(batch.slice(middle));
    }
    return true;
  }

  /** Send a request, and again where that may help. */
  async send(name: keyof Operations, given: unknown[]): Promise<unknown> {
    for (let attempt = 0; ; attempt++) {
      try {
        return await this.#fetch(name, given);
      } catch (error) {
        const problem = error instanceof ApiError ? error : unreachable(error);
        if (attempt >= this.#options.retries || !NOT_NOW.includes(problem.status)) throw problem;
        const backoff = BACKOFF_S * 2 ** attempt * (0.5 + Math.random() / 2);
        const seconds = Math.min(Math.max(backoff, problem.retryAfter), MAX_WAIT_S);
        await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
      }
    }
  }

  async #fetch(name: keyof Operations, given: unknown[]): Promise<unknown> {
    const [method, template, rows] = OPERATIONS[name];
    const rest = [...given];
    let path = template.replace(/{\w+}/g, () => encodeURIComponent(String(rest.shift())));
    const headers: Record<string, string> = {};
    if (this.#options.key) headers.authorization = `Bearer ${this.#options.key}`;
    const signal = AbortSignal.timeout(this.#options.timeout * 1000);
    const init: RequestInit = { method, headers, signal };
    if (method === "GET" || method === "DELETE") {
      path += `?${new URLSearchParams((rest[0] ?? {}) as Record<string, string>)}`;
    } else {
      headers["content-type"] = "application/json";
      const body = (init.body = JSON.stringify(rows ? { [rows]: rest[0] } : (rest[0] ?? {})));
      // Then it is sent though the page is left; browsers allow that for 64 KiB.
      init.keepalive = name === "addEvents" && body.length < MAX_KEEPALIVE;
    }
    const response = await fetch(this.#address + path, init);
    if (response.ok) return response.json();
    throw await readError(response);
  }
}

for (const name of Object.keys(OPERATIONS) as Array<keyof Operations>) {
  Object.defineProperty(Client.prototype, name, {
    value(this: Client, ...given: unknown[]) {
      if (name === "addEvents") given = [withIds(given[0] as EventIn[])];
      return this.send(name, given);
    },
  });
}

function withIds(events: EventIn[]): EventIn[] {
  return events.map((event) => ({ event_id: newId(), ...event }));
}

/** 128 random bits; `crypto.randomUUID` is there for pages over TLS alone. */
function newId(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function unreachable(error: unknown): ApiError {
  const message = `the service did not answer: ${error instanceof Error ? error.message : error}.`;
  return new ApiError(0, "unreachable", message, "Is `serendip serve` running at this address?");
}

async function readError(response: Response): Promise<ApiError> {
  const text = await response.text();
  const wait = Number(response.headers.get("retry-after")) || 0;
  try {
    const { type, message, hint, request_id } = JSON.parse(text).error;
    return new ApiError(response.status, type, message, hint, request_id, wait);
  } catch {
    const message = `status ${response.status}: ${text.slice(0, 200)}`;
    return new ApiError(response.status, "proxy", message, "", "", wait);
  }
}
