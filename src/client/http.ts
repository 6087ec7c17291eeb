/** An answer, read to its end. */
export interface HttpAnswer {
  status: number;
  headers: Headers;
  /** The parsed body when it is JSON. */
  json: unknown;
  text: string;
}

/** The server could not be asked, or did not answer in time: whatever was sent may have arrived. */
export class NoAnswerError extends Error {
  constructor(url: URL, cause: unknown) {
    super(`${url.origin} does not answer (${describe(cause)})`, { cause });
    this.name = 'NoAnswerError';
  }
}

/** Longer than any answer of a seller. */
const MAX_BODY_BYTES = 1_000_000;

/**
 * Asks once, within a deadline that covers the whole answer. Redirects are not followed: a signed payment or a key
 * goes to the server that was named and to no other.
 * @throws NoAnswerError
 */
export async function ask(
  url: URL,
  request: { method: 'GET' | 'POST'; headers?: Record<string, string>; body?: string; timeoutMs: number },
): Promise<HttpAnswer> {
  const { timeoutMs, ...init } = request;
  try {
    const answer = await fetch(url, {
      ...init,
      redirect: 'error',
      signal: AbortSignal.timeout(timeoutMs),
    });
    const text = await readBounded(answer);
    return { status: answer.status, headers: answer.headers, text, json: parseJson(text) };
  } catch (error) {
    throw new NoAnswerError(url, error);
  }
}

async function readBounded(answer: Response): Promise<string> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of answer.body ?? []) {
    const bytes = chunk as Uint8Array;
    size += bytes.length;
    if (size > MAX_BODY_BYTES) throw new Error('the answer is too long');
    chunks.push(bytes);
  }
  return Buffer.concat(chunks).toString('utf8');
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}

/** Which kind of failure, as the runtime names it. */
function describe(error: unknown): string {
  if (!(error instanceof Error)) return 'unknown';
  if (error.name === 'TimeoutError') return 'time is up';
  const { code, message } = (error.cause ?? error) as { code?: string; message?: string };
  return code ?? message ?? error.message;
}
