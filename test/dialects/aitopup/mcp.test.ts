import type { AddressInfo } from 'node:net';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import type { FastifyInstance } from 'fastify';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { TestGateway } from '../../support/gateway.ts';
import { balance, call, createCaller, startAitopupGateway } from './aitopup-gateway.ts';

let gateway: TestGateway;

beforeAll(async () => {
  gateway = await startAitopupGateway();
  await gateway.app.listen({ host: '127.0.0.1', port: 0 });
});

afterAll(() => gateway?.stop());

describe('the MCP server', () => {
  const origin = () => `http://127.0.0.1:${(gateway.app.server.address() as AddressInfo).port}`;

  async function connect(key: string): Promise<Client> {
    const client = new Client({ name: 'test', version: '1' });
    const transport = new StreamableHTTPClientTransport(new URL(`${origin()}/api/public/mcp`), {
      requestInit: { headers: { authorization: `Bearer ${key}` } },
    });
    await client.connect(transport);
    return client;
  }

  it('has four tools that answer envelopes', async () => {
    const { apiKey } = await createCaller(gateway);
    const client = await connect(apiKey);
    const { tools } = await client.listTools();
    expect(tools.map(tool => tool.name)).toEqual([
      'topup_send',
      'topup_status',
      'topup_cancel',
      'topup_balance',
    ]);
    const use = async (name: string, input: Record<string, unknown> = {}) => {
      const result = await client.callTool({ name, arguments: input });
      return { isError: result.isError, ...(result.structuredContent as Record<string, unknown>) };
    };
    const input = {
      platform: 'claude',
      amount_cents: 1_000,
      recipient_email: 'a+pending@example.org',
      idempotency_key: 'x',
    };
    const sent = await use('topup_send', input);
    expect(sent).toMatchObject({ isError: false, code: 1002, status: 'pending' });
    expect(await use('topup_send', input)).toEqual(sent);
    const id = sent as unknown as { transaction_id: string };
    const name = { transaction_id: id.transaction_id };
    expect(await use('topup_status', name)).toMatchObject({ code: 1002 });
    expect(await use('topup_cancel', name)).toMatchObject({ code: 3001, isError: false });
    expect(await use('topup_balance')).toMatchObject({ code: 1000, data: { balance_cents: 100_000 } });
    expect(await use('topup_send', { platform: 'x' })).toMatchObject({
      code: 2003,
      isError: true,
      success: false,
    });
    await client.close();
  });

  it('takes the same keys, and no others', async () => {
    await expect(connect(`ak_live_${'x'.repeat(40)}`)).rejects.toThrow(/401|2001/);
    const answer = await gateway.app.inject({ method: 'POST', url: '/api/public/mcp', payload: {} });
    expect(answer.statusCode).toBe(401);
    expect(answer.json()).toMatchObject({ success: false, code: 2001 });
    expect((await gateway.app.inject({ url: '/api/public/mcp' })).json()).toMatchObject({ code: 3000 });
  });

  it('shares the rate of a key with the other routes', async () => {
    const limited = await startAitopupGateway({ replicaOf: gateway, settings: { RATE_LIMITS: 'on' } });
    const { apiKey } = await createCaller(limited);
    const startMs = performance.now();
    const overHttp = [];
    const overMcp = [];
    for (let n = 0; n < 30; n += 1) {
      overHttp.push((await call(limited.app, '/topup/balance', { key: apiKey })).status);
      overMcp.push((await post(limited.app, apiKey, useBalance(n))).statusCode);
    }
    const seconds = (performance.now() - startMs) / 1000;
    await limited.stop();
    const answered = [...overHttp, ...overMcp].filter(status => status === 200);
    expect(answered.length).toBeLessThanOrEqual(20 + seconds);
  });

  it('takes one message in a request, so that many calls are not counted as one', async () => {
    const { apiKey } = await createCaller(gateway);
    const send = (id: number) => ({
      ...useBalance(id),
      params: { name: 'topup_send', arguments: { platform: 'claude', amount_cents: 1_000 } },
    });
    const answer = await post(gateway.app, apiKey, [send(1), send(2)]);
    expect(answer.statusCode).toBe(400);
    expect(answer.json()).toMatchObject({ success: false, code: 2000, data: { reason: 'batch_refused' } });
    expect((await post(gateway.app, apiKey, send(3))).statusCode).toBe(200);
    expect(await balance(gateway.app, apiKey)).toBe(99_000);
  });

  it('refuses what cannot be stored or is nested too deeply', async () => {
    const { apiKey } = await createCaller(gateway);
    const use = (name: string, input: object) =>
      post(gateway.app, apiKey, { ...useBalance(1), params: { name, arguments: input } });
    for (const [name, input, code] of [
      ['topup_send', { platform: 'claude', amount_cents: 1_000, reference: '\0' }, 2000],
      ['topup_send', { platform: 'claude', amount_cents: 1_000, idempotency_key: '\0' }, 2000],
      ['topup_status', { transaction_id: '\0' }, 3003],
      ['topup_cancel', { transaction_id: '\ud800' }, 3003],
    ] as const) {
      expect((await use(name, input)).json()).toMatchObject({ result: { structuredContent: { code } } });
    }
    const list: unknown[] = [];
    for (let n = 0, inner = list; n < 100; n += 1) inner.push((inner = []));
    expect((await use('topup_balance', { list })).json()).toMatchObject({ code: 2000 });
  });
});

const useBalance = (id: number) => ({
  jsonrpc: '2.0',
  id,
  method: 'tools/call',
  params: { name: 'topup_balance', arguments: {} },
});

function post(app: FastifyInstance, apiKey: string, payload: object) {
  return app.inject({
    method: 'POST',
    url: '/api/public/mcp',
    headers: { authorization: `Bearer ${apiKey}`, accept: 'application/json, text/event-stream' },
    payload,
  });
}
