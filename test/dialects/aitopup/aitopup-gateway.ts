import type { FastifyInstance } from 'fastify';
import { expect, vi } from 'vitest';
import type { Environment } from '../../../src/ports/environment.ts';
import { startGateway, type TestGateway, type TestGatewayOptions } from '../../support/gateway.ts';
import type { Receiver } from '../../support/receiver.ts';

export const PREFIX = '/api/public/v1';

const MEMBERS = ['success', 'code', 'transaction_id', 'status', 'timestamp', 'data'];

/** A gateway whose webhooks may lead to this machine. */
export function startAitopupGateway(options: TestGatewayOptions = {}): Promise<TestGateway> {
  return startGateway({ ...options, seams: { allowLoopbackWebhooks: true, ...options.seams } });
}

export interface Caller {
  apiKey: string;
  customerId: string;
}

/** A key of a new customer with so many cents. */
export async function createCaller(
  { services }: TestGateway,
  options: { environment?: Environment; cents?: bigint; capCents?: bigint; allowedAddresses?: string[] } = {},
): Promise<Caller> {
  const { environment = 'test', cents, capCents, allowedAddresses } = options;
  return services.createFundedKey({
    dialect: 'aitopup',
    environment,
    balanceNanoUsd: cents === undefined ? undefined : cents * 10_000_000n,
    spendingCapNanoUsd: capCents === undefined ? undefined : capCents * 10_000_000n,
    allowedAddresses,
  });
}

export interface Answered {
  status: number;
  headers: Record<string, unknown>;
  text: string;
  success: boolean;
  code: number;
  transaction_id: string | null;
  state: string;
  timestamp: string;
  // Each test says what it expects in there.
  // oxlint-disable-next-line typescript/no-explicit-any
  data: Record<string, any>;
}

export interface Call {
  method?: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  body?: unknown;
  key?: string | undefined;
  headers?: Record<string, string>;
  /** The raw payload instead of `body`. */
  payload?: string;
}

/** One call; every answer must be the envelope with all six members and nothing else. */
export async function call(app: FastifyInstance, path: string, options: Call = {}): Promise<Answered> {
  const { body, key, payload = body === undefined ? undefined : JSON.stringify(body) } = options;
  const method = options.method ?? (payload === undefined ? 'GET' : 'POST');
  const answer = await app.inject({
    method,
    url: `${PREFIX}${path}`,
    headers: {
      ...(payload !== undefined && { 'content-type': 'application/json' }),
      ...(key !== undefined && { authorization: `Bearer ${key}` }),
      ...options.headers,
    },
    ...(payload !== undefined && { payload }),
  });
  const envelope = answer.json<Omit<Answered, 'state'> & { status: string }>();
  expect(Object.keys(envelope)).toEqual(MEMBERS);
  expect(envelope.timestamp).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
  expect(answer.headers).toMatchObject({
    'content-type': 'application/json; charset=utf-8',
    'cache-control': 'no-store',
  });
  const { status: state, ...rest } = envelope;
  return { ...rest, state, status: answer.statusCode, headers: answer.headers, text: answer.body };
}

export const send = (
  app: FastifyInstance,
  key: string,
  body: object = {},
  headers: Record<string, string> = {},
) => call(app, '/topup/send', { key, headers, body: { platform: 'claude', amount_cents: 1_000, ...body } });

export async function balance(app: FastifyInstance, key: string): Promise<number> {
  return (await call(app, '/topup/balance', { key })).data['balance_cents'] as number;
}

/** Registers a receiver for all events. @returns the secret */
export async function listen(
  app: FastifyInstance,
  key: string,
  receiver: Receiver,
): Promise<{ id: string; secret: string }> {
  const { code, data } = await call(app, '/webhooks/register', { key, body: { url: receiver.url } });
  expect(code).toBe(1000);
  return { id: data['id'] as string, secret: data['secret'] as string };
}

export interface ReceivedEvent {
  id: string;
  type: string;
  environment: string;
  transaction_id: string | null;
  status: string;
  data: Record<string, unknown>;
}

/** The events that arrived, once there are so many. */
export async function events(receiver: Receiver, count: number): Promise<ReceivedEvent[]> {
  await vi.waitFor(() => expect(receiver.arrivals.length).toBeGreaterThanOrEqual(count), {
    timeout: 10_000,
    interval: 10,
  });
  return receiver.arrivals.map(({ body }) => JSON.parse(body) as ReceivedEvent);
}

/** Makes a pending top-up older, and looked at now. */
export async function age(
  { sql }: TestGateway,
  transactionId: string | null,
  seconds: number,
): Promise<void> {
  await sql.query(
    `UPDATE cell_0.topup SET created_at = created_at - $2 * interval '1 s', due_at = now()
     WHERE transaction_id = $1`,
    [transactionId, seconds],
  );
}

export async function untilState(
  app: FastifyInstance,
  key: string,
  id: string | null,
  state: string,
): Promise<Answered> {
  return vi.waitFor(
    async () => {
      const found = await call(app, `/topup/status/${id}`, { key });
      expect(found.state).toBe(state);
      return found;
    },
    { timeout: 10_000, interval: 20 },
  );
}

/** Calls a tool of the MCP server as its clients do. @returns the envelope */
export async function useTool(
  app: FastifyInstance,
  key: string,
  name: string,
  input: object = {},
): Promise<Record<string, unknown>> {
  const answer = await app.inject({
    method: 'POST',
    url: '/api/public/mcp',
    headers: { authorization: `Bearer ${key}`, accept: 'application/json, text/event-stream' },
    payload: { jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name, arguments: input } },
  });
  expect(answer.statusCode, answer.body).toBe(200);
  return answer.json<{ result: { structuredContent: Record<string, unknown> } }>().result.structuredContent;
}
