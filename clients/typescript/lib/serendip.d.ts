/** A client of the HTTP API of Serendip for browsers and Node, on `fetch`; see docs/guide/clients.md. */
import { type EventIn, type ItemOut, type Operations } from "./api.js";
export * from "./api.js";
/** A request was refused, or nobody answered it. */
export declare class ApiError extends Error {
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
    constructor(status: number, type: string, message: string, hint?: string, requestId?: string, retryAfter?: number);
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
export interface Client extends Operations {
}
export declare class Client {
    #private;
    /** The address is that of the service; empty = where the page came from. */
    constructor(address?: string, options?: Options);
    /** The whole catalogue, in the order of the ids. */
    allItems(limit?: number): AsyncGenerator<ItemOut, void, undefined>;
    /** Send an event in the background, with others; a page that is left sends what waits. */
    record(event: EventIn): void;
    /** Send recorded events now; the number of those that could not be stored yet. */
    flush(): Promise<number>;
    /** Send a request, and again where that may help. */
    send(name: keyof Operations, given: unknown[]): Promise<unknown>;
}
