/** Why a URL of somebody else's choosing may not be called. */
export interface RefusedUrl {
  reason:
    | 'malformed'
    | 'not_https'
    | 'credentials'
    | 'fragment'
    | 'too_long'
    | 'forbidden_address'
    | 'unresolvable';
  message: string;
}

export interface OutboundRequest {
  url: string;
  headers: Record<string, string>;
  body: string;
  timeoutMs: number;
}

/** What came of a call. Anything but a status is an error, in one word. */
export type OutboundResult =
  | { kind: 'answered'; status: number; body: string }
  | { kind: 'failed'; error: 'timeout' | 'forbidden_address' | 'connection' };

/** Calls addresses that somebody else chose, and never one of the network that we stand in. */
export interface Outbound {
  /** Looks at the URL and at every address its name has now; undefined when it may be called. */
  check(url: string): Promise<RefusedUrl | undefined>;
  /** POSTs once: no redirects, a bounded answer, one deadline. Never throws. */
  post(request: OutboundRequest): Promise<OutboundResult>;
  close(): Promise<void>;
}
