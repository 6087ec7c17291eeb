import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { INTERNAL_ERROR, INVALID_REQUEST, METHOD_NOT_FOUND, PARSE_ERROR, RpcError } from './rpc-error.ts';

/** As on a real node. */
const MAX_BODY_BYTES = 50 * 1024;
const MAX_BATCH = 500;
const REQUEST_TIMEOUT_MS = 10_000;

/** Longer than clients keep an idle connection, so that none is closed under a request. */
const KEEP_ALIVE_MS = 120_000;

export type RpcHandler = (params: readonly unknown[]) => unknown;

type Reply = { jsonrpc: '2.0'; id: string | number | null } & (
  | { result: unknown }
  | { error: { code: number; message: string; data?: unknown } }
);

/** JSON-RPC 2.0 over HTTP. */
export function createRpcServer(find: (method: string) => RpcHandler | undefined): Server {
  const server = createServer((request, response) => {
    void answer(request, response, find);
  });
  server.requestTimeout = REQUEST_TIMEOUT_MS;
  server.keepAliveTimeout = KEEP_ALIVE_MS;
  return server;
}

async function answer(
  request: IncomingMessage,
  response: ServerResponse,
  find: (method: string) => RpcHandler | undefined,
): Promise<void> {
  // Wallets in a browser ask from another origin; there is nothing here but test money.
  response.setHeader('access-control-allow-origin', '*');
  response.setHeader('access-control-allow-headers', 'content-type');
  if (request.method === 'OPTIONS') return void response.writeHead(204).end();
  if (request.method !== 'POST')
    return send(response, 405, refusal(INVALID_REQUEST, 'Used HTTP Method is not allowed. POST is required'));
  const body = await read(request).catch(() => null);
  if (body === null) return void response.destroy();
  if (body === undefined) {
    response.setHeader('connection', 'close');
    return send(
      response,
      413,
      refusal(INVALID_REQUEST, `Request body is larger than ${MAX_BODY_BYTES} bytes`),
    );
  }
  let call: unknown;
  try {
    call = JSON.parse(body);
  } catch {
    return send(response, 200, refusal(PARSE_ERROR, 'Parse error'));
  }
  if (!Array.isArray(call)) return send(response, 200, await handle(call, find));
  if (call.length === 0 || call.length > MAX_BATCH) {
    return send(
      response,
      200,
      refusal(INVALID_REQUEST, `Invalid request: a batch has 1 to ${MAX_BATCH} calls`),
    );
  }
  const replies: Reply[] = [];
  for (const one of call) {
    const reply = await handle(one, find);
    if (reply) replies.push(reply);
  }
  send(response, 200, replies.length > 0 ? replies : undefined);
}

/** @returns undefined when the body is too large; it is then read to its end and dropped. */
async function read(request: IncomingMessage): Promise<string | undefined> {
  const chunks: Buffer[] = [];
  let length = 0;
  request.on('data', (chunk: Buffer) => {
    length += chunk.length;
    if (length <= MAX_BODY_BYTES) chunks.push(chunk);
  });
  await once(request, 'end');
  return length > MAX_BODY_BYTES ? undefined : Buffer.concat(chunks).toString('utf8');
}

/** @returns undefined for a notification, which gets no reply. */
async function handle(
  call: unknown,
  find: (method: string) => RpcHandler | undefined,
): Promise<Reply | undefined> {
  if (typeof call !== 'object' || call === null || Array.isArray(call))
    return refusal(INVALID_REQUEST, 'Invalid request');
  const { jsonrpc, id, method, params = [] } = call as Record<string, unknown>;
  const validId = id === undefined || id === null || typeof id === 'string' || typeof id === 'number';
  if (jsonrpc !== '2.0' || typeof method !== 'string' || !validId)
    return refusal(INVALID_REQUEST, 'Invalid request');
  const reply = await run(method, params, find);
  return id === undefined ? undefined : { jsonrpc: '2.0', id, ...reply };
}

async function run(method: string, params: unknown, find: (method: string) => RpcHandler | undefined) {
  const handler = find(method);
  if (!handler) return { error: { code: METHOD_NOT_FOUND, message: 'Method not found' } };
  if (!Array.isArray(params)) {
    return { error: { code: -32602, message: 'Invalid params: expected a list.' } };
  }
  try {
    return { result: await handler(params) };
  } catch (error) {
    if (error instanceof RpcError) {
      const { code, message, data } = error;
      return { error: { code, message, ...(data === undefined ? {} : { data }) } };
    }
    process.stderr.write(`${method}: ${(error as Error).stack}\n`);
    return { error: { code: INTERNAL_ERROR, message: 'Internal error' } };
  }
}

function refusal(code: number, message: string): Reply {
  return { jsonrpc: '2.0', id: null, error: { code, message } };
}

function send(response: ServerResponse, status: number, reply: Reply | Reply[] | undefined): void {
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(reply === undefined ? '' : toJson(reply));
}

/** JSON in which a bigint is a plain number: the protocol has 64-bit numbers, clients read them as such. */
export function toJson(value: unknown): string {
  if (typeof value === 'bigint') return value.toString();
  if (typeof value !== 'object' || value === null) return JSON.stringify(value) ?? 'null';
  if (Array.isArray(value)) return `[${value.map(toJson).join(',')}]`;
  const fields = Object.entries(value)
    .filter(([, field]) => field !== undefined)
    // The one number with a fraction that clients read: as a whole number they would take it for a bigint.
    .map(
      ([name, field]) => `${JSON.stringify(name)}:${name === 'uiAmount' ? toFloat(field) : toJson(field)}`,
    );
  return `{${fields.join(',')}}`;
}

function toFloat(value: unknown): string {
  return Number.isInteger(value) ? `${String(value)}.0` : toJson(value);
}
