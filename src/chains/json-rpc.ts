import { Pool } from 'undici';
import { unavailable } from '../lib/errors.ts';

export interface JsonRpcOptions {
  /** Names the node in what callers are told, e.g. `Base`. */
  title: string;
  rpcUrl: string;
  /** Deadline of one call, from the first byte sent to the last byte read. */
  timeoutMs: number;
}

export interface JsonRpcError {
  code?: number;
  message?: string;
}

export interface JsonRpcAnswer {
  result?: unknown;
  error?: JsonRpcError;
}

export interface JsonRpc {
  /** @returns result or error as the node gave it. @throws unavailable when it gave neither. */
  call(method: string, params: unknown[]): Promise<JsonRpcAnswer>;
  /** What is thrown for an error of the node that says nothing about the question. */
  refuse(method: string, error: JsonRpcError): Error;
}

/** An answer longer than this is not one that we asked for. */
const MAX_ANSWER_CHARACTERS = 8_000_000;

const MAX_ERROR_CHARACTERS = 200;

/** What the node said instead of a result. It never holds the URL, whose path is often a key. */
class NodeAnswerError extends Error {
  constructor(method: string, what: string) {
    super(`${method}: ${what}`.slice(0, MAX_ERROR_CHARACTERS));
    this.name = 'NodeAnswerError';
  }
}

/**
 * Talks JSON-RPC to one node. Written on undici's own request because the deadline has to cover the whole answer and
 * no header of the node may stretch it, which the usual clients do not promise; and because fetch around it costs
 * a quarter of the processor time of a whole payment.
 */
export function createJsonRpc({ title, rpcUrl, timeoutMs }: JsonRpcOptions): JsonRpc {
  const url = new URL(rpcUrl);
  const headers: Record<string, string> = { 'content-type': 'application/json' };
  if (url.username || url.password) {
    const credentials = `${decodeURIComponent(url.username)}:${decodeURIComponent(url.password)}`;
    headers['authorization'] = `Basic ${Buffer.from(credentials).toString('base64')}`;
    url.username = '';
    url.password = '';
  }

  const path = `${url.pathname}${url.search}`;
  // Its own connections: those that all of a process shares belong to whoever loaded its client first.
  const pool = new Pool(url.origin);

  async function post(method: string, params: unknown[]): Promise<JsonRpcAnswer> {
    const answer = await pool.request({
      path,
      method: 'POST',
      headers,
      body: JSON.stringify({ jsonrpc: '2.0', id: 1, method, params }),
      signal: AbortSignal.timeout(timeoutMs),
    });
    const text = await answer.body.text();
    if (text.length > MAX_ANSWER_CHARACTERS) throw new NodeAnswerError(method, 'the answer is too long');
    try {
      return JSON.parse(text) as JsonRpcAnswer;
    } catch {
      // A redirection is not followed and ends here too: whoever answers must be who was asked.
      throw new NodeAnswerError(method, `HTTP ${answer.statusCode} without JSON`);
    }
  }

  return {
    async call(method, params) {
      try {
        return await post(method, params);
      } catch (error) {
        throw unavailable(`the ${title} node`, describeFailure(method, error));
      }
    },
    refuse: (method, { code, message = '' }) =>
      unavailable(`the ${title} node`, new NodeAnswerError(method, `error ${code}: ${message}`)),
  };
}

/** The kind of failure without the address it was met at. */
function describeFailure(method: string, error: unknown): Error {
  if (error instanceof NodeAnswerError) return error;
  const cause = (error as { cause?: { code?: unknown } }).cause;
  const code = typeof cause?.code === 'string' ? cause.code : (error as Error).name;
  return new NodeAnswerError(method, code);
}
