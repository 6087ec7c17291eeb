import type { AddressInfo } from 'node:net';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { encodeBase64Json } from '../../../src/lib/base64.ts';
import { usdcBalance } from '../../support/chain.ts';
import type { TestGateway } from '../../support/gateway.ts';
import { createPayer, paymentJson, signPayment } from '../../support/payment.ts';
import { balance, call, createCaller, startAitopupGateway } from './aitopup-gateway.ts';

let gateway: TestGateway;

beforeAll(async () => {
  gateway = await startAitopupGateway();
  await gateway.app.listen({ host: '127.0.0.1', port: 0 });
});

afterAll(() => gateway?.stop());

interface Offer {
  x402Version: number;
  resource: { url: string };
  accepts: { scheme: string; network: string; amount: string; payTo: string }[];
}

const decode = (header: unknown): unknown => JSON.parse(Buffer.from(String(header), 'base64').toString());

describe('the wallet of a key', () => {
  it('is filled by an x402 payment, once', async () => {
    const { apiKey } = await createCaller(gateway, { environment: 'live', cents: 0n });
    const fund = (headers: Record<string, string> = {}, cents = 2_500) =>
      call(gateway.app, '/topup/fund', { key: apiKey, body: { amount_cents: cents }, headers });
    const asked = await fund();
    expect(asked).toMatchObject({
      status: 402,
      code: 2002,
      success: false,
      data: { reason: 'payment_required' },
    });
    const offer = decode(asked.headers['payment-required']) as Offer;
    const [accepted] = offer.accepts;
    expect(offer).toMatchObject({
      x402Version: 2,
      resource: { url: 'http://127.0.0.1:4020/api/public/v1/topup/fund' },
      accepts: [{ scheme: 'exact', network: 'eip155:8453', amount: '25000000' }],
    });
    const payer = await createPayer(100n);
    const payload = paymentJson(await signPayment(payer, gateway.payTo, 25_000_000n));
    const header = encodeBase64Json({ x402Version: 2, accepted, payload, resource: offer.resource });
    const wrong = await fund({ 'payment-signature': header }, 2_600);
    expect(wrong).toMatchObject({ status: 402, code: 2002, data: { reason: 'payment_refused' } });
    expect(await balance(gateway.app, apiKey)).toBe(0);

    const paid = await fund({ 'payment-signature': header });
    expect(paid).toMatchObject({
      status: 200,
      code: 1000,
      data: {
        amount_cents: 2_500,
        wallet_balance_cents: 2_500,
        environment: 'live',
        transaction: expect.stringMatching(/^0x/),
      },
    });
    expect(decode(paid.headers['payment-response'])).toMatchObject({
      success: true,
      network: 'eip155:8453',
      transaction: paid.data['transaction'],
    });
    const again = await fund({ 'payment-signature': header });
    expect(again).toMatchObject({ code: 1000, data: { payment_id: paid.data['payment_id'] } });
    const other = await createCaller(gateway, { environment: 'live', cents: 0n });
    const stolen = await call(gateway.app, '/topup/fund', {
      key: other.apiKey,
      body: { amount_cents: 2_500 },
      headers: { 'payment-signature': header },
    });
    expect(stolen).toMatchObject({ status: 409, code: 2006, data: { reason: 'payment_conflict' } });
    expect([await balance(gateway.app, apiKey), await balance(gateway.app, other.apiKey)]).toEqual([
      2_500, 0,
    ]);
    expect(await usdcBalance(gateway.payTo)).toBe(25_000_000n);
  });

  it('is not filled by what is no payment', async () => {
    const { apiKey } = await createCaller(gateway, { environment: 'live', cents: 0n });
    const headers = { 'payment-signature': 'bm90aGluZw==' };
    const body = { amount_cents: 2_500 };
    expect(await call(gateway.app, '/topup/fund', { key: apiKey, body, headers })).toMatchObject({
      status: 400,
      code: 2000,
    });
    expect(await call(gateway.app, '/topup/fund', { key: apiKey, body: { amount_cents: 1 } })).toMatchObject({
      code: 2005,
    });
  });
});

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
});
