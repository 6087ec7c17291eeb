import { Pool } from 'undici';
import { unavailable } from '../lib/errors.ts';
import { type RpcTransport, shareRequests } from './rpc-batch.ts';
import { AllRefusedError, NoBatchError, NodeAnswerError, NodeBusyError } from './rpc-errors.ts';

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
  /** As `call`, for what many ask at the same moment and the node answers at once: such calls may share a request. */
  callShared(method: string, params: unknown[]): Promise<JsonRpcAnswer>;
  /** What is thrown for an error of the node that says nothing about the question. */
  refuse(method: string, error: JsonRpcError): Error;
}

/** An answer longer than this is not one that we asked for. */
const MAX_ANSWER_CHARACTERS = 8_000_000;

/** Too many requests; not now. */
const BUSY = new Set([429, 503]);

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

  async function send(method: string, body: unknown): Promise<unknown> {
    const answer = await pool.request({
      path,
      method: 'POST',
      headers,
      body: JSON.stringify(body),
      signal: AbortSignal.timeout(timeoutMs),
    });
    const text = await answer.body.text();
    if (BUSY.has(answer.statusCode)) throw new NodeBusyError(method, answer.statusCode);
    if (text.length > MAX_ANSWER_CHARACTERS) throw new NodeAnswerError(method, 'the answer is too long');
    try {
      return JSON.parse(text);
    } catch {
      // A redirection is not followed and ends here too: whoever answers must be who was asked.
      throw new NodeAnswerError(method, `HTTP ${answer.statusCode} without JSON`);
    }
  }

  const toCall = (method: string, params: unknown[], id: number) => ({ jsonrpc: '2.0', id, method, params });

  const post: RpcTransport['post'] = async (method, params) => {
    const answer = await send(method, toCall(method, params, 1));
    if (!isAnswer(answer)) throw new NodeAnswerError(method, 'neither result nor error');
    return answer;
  };

  const postAll: RpcTransport['postAll'] = async (method, all) => {
    const calls = all.map((params, index) => toCall(method, params, index + 1));
    const answers = await send(method, calls).catch((error: unknown) => {
      const isAnswered = error instanceof NodeAnswerError && !(error instanceof NodeBusyError);
      throw isAnswered ? new NoBatchError() : error;
    });
    return inOrder(answers, all.length);
  };

  const postShared = shareRequests({ post, postAll });

  const orUnavailable = async (method: string, answer: Promise<JsonRpcAnswer>): Promise<JsonRpcAnswer> => {
    try {
      return await answer;
    } catch (error) {
      throw unavailable(`the ${title} node`, describeFailure(method, error));
    }
  };

  return {
    call: (method, params) => orUnavailable(method, post(method, params)),
    callShared: (method, params) => orUnavailable(method, postShared(method, params)),
    refuse: (method, { code, message = '' }) =>
      unavailable(`the ${title} node`, new NodeAnswerError(method, `error ${code}: ${message}`)),
  };
}

function isAnswer(value: unknown): value is JsonRpcAnswer {
  if (typeof value !== 'object' || value === null) return false;
  return 'result' in value || Boolean((value as JsonRpcAnswer).error);
}

/** A node may answer the calls of a request in any order; each answer names its call, and they count from one. */
function inOrder(answers: unknown, count: number): JsonRpcAnswer[] {
  if (!Array.isArray(answers) || answers.length !== count || !answers.every(isAnswer))
    throw new NoBatchError();
  const byId = new Map(answers.map((answer: JsonRpcAnswer & { id?: unknown }) => [answer.id, answer]));
  const ordered = Array.from({ length: count }, (_, index) => byId.get(index + 1));
  if (!ordered.every(answer => answer !== undefined)) throw new NoBatchError();
  if (ordered.every(({ error }) => error)) throw new AllRefusedError();
  return ordered;
}

/** The kind of failure without the address it was met at. */
function describeFailure(method: string, error: unknown): Error {
  if (error instanceof NodeAnswerError) return error;
  const cause = (error as { cause?: { code?: unknown } }).cause;
  const code = typeof cause?.code === 'string' ? cause.code : (error as Error).name;
  return new NodeAnswerError(method, code);
}
