/** Where a remote facilitator is and how calls to it prove who we are. */
export interface FacilitatorAddress {
  /** Base URL without userinfo, query and trailing slash; `/verify` and the like are appended. */
  url: string;
  /** Headers of every call. */
  headers: Readonly<Record<string, string>>;
  /** Makes the headers of one call, for services that want a fresh token each time. */
  createAuthHeaders?: CreateAuthHeaders;
}

export type FacilitatorMethod = 'verify' | 'settle' | 'supported';

/**
 * The function that the official `HTTPFacilitatorClient` takes under the same name: headers by method. Whatever
 * is written for that client can be used here.
 */
export type CreateAuthHeaders = () => Promise<Partial<Record<FacilitatorMethod, Record<string, string>>>>;

export interface FacilitatorResponse {
  status: number;
  /** The parsed body; undefined when it is not JSON. */
  body: unknown;
}

/** An answer longer than this is not one that we asked for. */
const MAX_ANSWER_BYTES = 262_144;

const AUTH_TIMEOUT_MS = 5_000;

/**
 * Failures before a connection exists, so that no byte of the request can have left: no answer to the connection attempt,
 * or a certificate that is not good. They name no system call.
 */
const NOT_CONNECTED =
  /^(?:UND_ERR_CONNECT_TIMEOUT|CERT_[A-Z_]+|ERR_TLS_CERT_ALTNAME_INVALID|DEPTH_ZERO_SELF_SIGNED_CERT|SELF_SIGNED_CERT_IN_CHAIN|UNABLE_TO_[A-Z_]+)$/;

/**
 * Failures of the system: refused, unreachable, no such name. A connection that carries a request already can become
 * unreachable as well, so they prove nothing but in these two system calls.
 */
const UNREACHABLE = /^(?:ECONNREFUSED|ENOTFOUND|EAI_AGAIN|EHOSTUNREACH|ENETUNREACH|EADDRNOTAVAIL)$/;
const CONNECTING: readonly unknown[] = ['connect', 'getaddrinfo'];

/** A call that brought no usable answer. The message never holds the URL or a header. */
export class FacilitatorCallError extends Error {
  /** @param nothingSent true only when it is proven that no byte of the request left this process */
  constructor(
    message: string,
    readonly nothingSent: boolean,
  ) {
    super(message);
    this.name = 'FacilitatorCallError';
  }
}

/**
 * Calls one method of a facilitator. Written on fetch because the deadline has to cover the whole answer, its
 * size must be bounded, a redirect must not carry a payment elsewhere, and the caller must learn whether a
 * failed request was sent; the official client promises none of these.
 * @param body absent for GET
 * @throws FacilitatorCallError
 */
export async function callFacilitator(
  address: FacilitatorAddress,
  method: FacilitatorMethod,
  timeoutMs: number,
  body?: unknown,
): Promise<FacilitatorResponse> {
  const headers = { ...address.headers, ...(await authHeaders(address, method)) };
  let response: Response;
  let text: string;
  try {
    response = await fetch(`${address.url}/${method}`, {
      method: body === undefined ? 'GET' : 'POST',
      headers: body === undefined ? headers : { ...headers, 'content-type': 'application/json' },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      redirect: 'manual',
      signal: AbortSignal.timeout(timeoutMs),
    });
    text = await readBounded(response);
  } catch (error) {
    if (error instanceof FacilitatorCallError) throw error;
    const failures = failuresOf(error);
    const codes = failures.map(
      each => codeOf(each) ?? (each instanceof Error ? each.name : 'unknown failure'),
    );
    throw new FacilitatorCallError(
      `${method}: ${codes.join(', ').slice(0, 200)}`,
      failures.every(isBeforeTheRequest),
    );
  }
  if (response.status >= 300 && response.status < 400) {
    throw new FacilitatorCallError(`${method}: answered with a redirect, which is not followed`, false);
  }
  return { status: response.status, body: parseJson(text) };
}

async function authHeaders(
  { createAuthHeaders }: FacilitatorAddress,
  method: FacilitatorMethod,
): Promise<Record<string, string>> {
  if (!createAuthHeaders) return {};
  let timer: NodeJS.Timeout | undefined;
  try {
    const expiry = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new Error('timed out')), AUTH_TIMEOUT_MS);
    });
    return (await Promise.race([createAuthHeaders(), expiry]))[method] ?? {};
  } catch {
    // The error of a function that handles secrets is not repeated.
    throw new FacilitatorCallError(`${method}: the function that makes the headers failed`, true);
  } finally {
    clearTimeout(timer);
  }
}

async function readBounded(response: Response): Promise<string> {
  if (!response.body) return '';
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of response.body as unknown as AsyncIterable<Uint8Array>) {
    size += chunk.byteLength;
    if (size > MAX_ANSWER_BYTES) throw new FacilitatorCallError('the answer is too long', false);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

/** Why a fetch failed: several failures when every address of a name was tried. */
function failuresOf(error: unknown): unknown[] {
  const { cause } = error as { cause?: { errors?: unknown } };
  if (Array.isArray(cause?.errors) && cause.errors.length > 0) return cause.errors;
  return [codeOf(cause) === undefined ? error : cause];
}

/** Whether a failure proves that no byte of the request has left this process. */
export function isBeforeTheRequest(failure: unknown): boolean {
  const code = codeOf(failure) ?? '';
  const { syscall } = failure as { syscall?: unknown };
  return NOT_CONNECTED.test(code) || (UNREACHABLE.test(code) && CONNECTING.includes(syscall));
}

function codeOf(error: unknown): string | undefined {
  const code = (error as { code?: unknown } | undefined)?.code;
  return typeof code === 'string' ? code : undefined;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}
