import { beforeEach, describe, expect, it } from 'vitest';
import type { StatementRow } from '../../../src/accounts/types.ts';
import { unavailable } from '../../../src/lib/errors.ts';
import { headerJson, NOW_MS, ORIGIN, PAYER, type VeniceFixture, veniceApp } from './venice-app.ts';

const OTHER = `0x${'5a'.repeat(20)}`;
const CHECKSUMMED = '0x19E7E376E7C213B7E7e7e46cc70A5dD086DAff2A';

let fixture: VeniceFixture;
beforeEach(async () => {
  fixture = await veniceApp();
});

function get(url: string, headers: Record<string, string> = { 'x-sign-in-with-x': `wallet:${PAYER}` }) {
  return fixture.app.inject({ method: 'GET', url: `/api/v1/x402/${url}`, headers });
}

const row = (changes: Partial<StatementRow>): StatementRow => ({
  id: 'row-1',
  amountNanoUsd: 10_000_000_000n,
  balanceAfterNanoUsd: 12_500_000_000n,
  kind: 'topup',
  createdAt: new Date(NOW_MS),
  requestId: null,
  modelId: null,
  ...changes,
});

describe('balance', () => {
  it.each([
    ['never seen', undefined, 0, false],
    ['just below the minimum', 99_999_999n, 0.099999999, false],
    ['at the minimum', 100_000_000n, 0.1, true],
    ['of whole and part dollars', 12_345_678_901n, 12.345678901, true],
  ])('of a wallet %s', async (_, nanoUsd, balanceUsd, canConsume) => {
    if (nanoUsd !== undefined) fixture.balances.set(PAYER, nanoUsd);
    const response = await get(`balance/${PAYER}`);
    expect(response.statusCode).toBe(200);
    expect(response.headers['cache-control']).toBe('no-store');
    expect(response.json()).toEqual({
      success: true,
      data: { walletAddress: PAYER, balanceUsd, canConsume, minimumTopUpUsd: 5, suggestedTopUpUsd: 10 },
    });
  });

  it.each(['SIGN-IN-WITH-X', 'X-Sign-In-With-X'])('takes the proof from %s', async name => {
    expect((await get(`balance/${PAYER}`, { [name]: `wallet:${PAYER}` })).statusCode).toBe(200);
  });

  it('takes the address in any letter case', async () => {
    const response = await get(`balance/${CHECKSUMMED}`);
    expect(response.json()).toMatchObject({ data: { walletAddress: PAYER } });
    expect((await get(`balance/0x${PAYER.slice(2).toUpperCase()}`)).statusCode).toBe(200);
  });
});

describe('transactions', () => {
  it('are rows with every field, newest first', async () => {
    fixture.balances.set(PAYER, 12_349_993_400n);
    fixture.rows.push(
      row({
        id: 'row-2',
        kind: 'charge',
        amountNanoUsd: -6_600n,
        balanceAfterNanoUsd: 12_499_993_400n,
        requestId: 'chatcmpl-9f',
        modelId: 'qwen3-5-9b',
      }),
      row({}),
      row({ id: 'row-0', kind: 'refund', amountNanoUsd: 1n, requestId: 'chatcmpl-9e' }),
    );
    const response = await get(`transactions/${CHECKSUMMED}`);
    expect(response.statusCode).toBe(200);
    expect(response.json()).toEqual({
      success: true,
      data: {
        walletAddress: PAYER,
        currentBalance: 12.3499934,
        transactions: [
          {
            id: 'row-2',
            amount: -0.0000066,
            balanceAfter: 12.4999934,
            type: 'CHARGE',
            createdAt: '2026-11-20T18:00:00.000Z',
            requestId: 'chatcmpl-9f',
            modelId: 'qwen3-5-9b',
          },
          {
            id: 'row-1',
            amount: 10,
            balanceAfter: 12.5,
            type: 'TOP_UP',
            createdAt: '2026-11-20T18:00:00.000Z',
            requestId: null,
            modelId: null,
          },
          {
            id: 'row-0',
            amount: 1e-9,
            balanceAfter: 12.5,
            type: 'REFUND',
            createdAt: '2026-11-20T18:00:00.000Z',
            requestId: 'chatcmpl-9e',
            modelId: null,
          },
        ],
        pagination: { limit: 50, offset: 0, hasMore: false },
      },
    });
  });

  it('come in pages', async () => {
    fixture.rows.push(...['c', 'b', 'a'].map(id => row({ id })));
    const page = async (query: string) => {
      const response = await get(`transactions/${PAYER}?${query}`);
      const { transactions, pagination } = response.json<{
        data: { transactions: { id: string }[]; pagination: object };
      }>().data;
      return { ids: transactions.map(each => each.id), pagination };
    };
    expect(await page('limit=2')).toEqual({
      ids: ['c', 'b'],
      pagination: { limit: 2, offset: 0, hasMore: true },
    });
    expect(await page('limit=2&offset=2')).toEqual({
      ids: ['a'],
      pagination: { limit: 2, offset: 2, hasMore: false },
    });
    expect((await page('limit=100&offset=9')).ids).toEqual([]);
  });

  it.each(['limit=0', 'limit=101', 'limit=-1', 'limit=1.5', 'limit=ten', 'offset=-1', 'offset=x'])(
    'are not paged by %s',
    async query => {
      const response = await get(`transactions/${PAYER}?${query}`);
      const [name] = query.split('=');
      expect(response.statusCode).toBe(400);
      expect(response.json()).toEqual({
        error: 'Invalid request parameters',
        details: { problems: [expect.stringMatching(new RegExp(`^/${name} must `))] },
      });
    },
  );
});

describe.each([
  ['balance', 'balance', 30],
  ['transactions', 'transaction history', 20],
])('who may read %s', (route, subject, perMinute) => {
  it('is nobody without a credential: the answer is a challenge', async () => {
    for (const headers of [{}, { authorization: 'Bearer some-key' }]) {
      const response = await get(`${route}/${PAYER}`, headers);
      expect(response.statusCode).toBe(402);
      expect(response.headers['content-type']).toMatch(/^application\/json/);
      const url = `${ORIGIN}/api/v1/x402/${route}/${PAYER}`;
      const { authOptions, ...paymentRequired } = response.json<Record<string, unknown>>();
      expect(headerJson(response.headers['payment-required'])).toEqual(paymentRequired);
      expect(paymentRequired).toEqual({
        x402Version: 2,
        error: 'Authentication required',
        resource: { url, description: 'Venice API', mimeType: 'application/json' },
        accepts: [],
        extensions: {
          'sign-in-with-x': {
            info: {
              domain: 'gw.example.com:8443',
              uri: url,
              version: '1',
              nonce: expect.stringMatching(/^[0-9a-f]{16}$/),
              issuedAt: '2026-11-20T18:00:00.000Z',
              expirationTime: '2026-11-20T18:05:00.000Z',
              statement: 'Sign in to Venice AI',
            },
            supportedChains: [
              { chainId: 'eip155:8453', type: 'eip191' },
              { chainId: 'eip155:8453', type: 'eip1271' },
              { chainId: 'solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp', type: 'ed25519' },
            ],
          },
        },
      });
      expect(authOptions).toMatchObject({
        x402Wallet: {
          header: 'SIGN-IN-WITH-X',
          legacyHeader: 'X-Sign-In-With-X',
          topUp: 'POST /api/v1/x402/top-up',
        },
      });
    }
  });

  it('is nobody with a bad proof', async () => {
    for (const headers of [
      { 'sign-in-with-x': 'nonsense' },
      { 'sign-in-with-x': '' },
      { 'sign-in-with-x': `wallet:${PAYER}`, 'x-sign-in-with-x': `wallet:${OTHER}` },
      { 'sign-in-with-x': `wallet:${PAYER}, wallet:${PAYER}` },
    ]) {
      const response = await get(`${route}/${PAYER}`, headers);
      expect(response.statusCode).toBe(401);
      expect(response.json()).toEqual({ error: 'Invalid Sign-in-with-x signature' });
    }
  });

  it('is no other wallet', async () => {
    for (const wallet of [OTHER, '8qUL23aSj7mDWdoLMXGHFvnVCT9wd7jXcysiekroADEL']) {
      const response = await get(`${route}/${wallet}`);
      expect(response.statusCode).toBe(403);
      expect(response.json()).toEqual({ error: `You can only access ${subject} for your own wallet` });
    }
  });

  it.each(['0x1234', `${PAYER}0`, 'not-an-address', PAYER.replace('0x', '0X'), 'O'.repeat(40), '%00'])(
    'is not asked for the malformed address %s',
    async address => {
      const response = await get(`${route}/${address}`, {});
      expect(response.statusCode).toBe(400);
      expect(response.json()).toEqual({
        error: 'Invalid request parameters',
        details: { problems: [expect.stringMatching(/^\/walletAddress must match/)] },
      });
    },
  );

  it('is limited by the wallet that signed in, not by the wallet that is named', async () => {
    fixture = await veniceApp({ rateLimits: true });
    const owner = { 'sign-in-with-x': `wallet:${PAYER}` };
    const stranger = { 'sign-in-with-x': `wallet:${OTHER}` };
    for (let n = 0; n < perMinute; n += 1) {
      expect((await get(`${route}/${PAYER}`, stranger)).statusCode).toBe(403);
    }
    const refused = await get(`${route}/${PAYER}`, stranger);
    expect(refused.statusCode).toBe(429);
    expect(refused.json()).toEqual({ error: 'Rate limit exceeded. Please try again later.' });
    expect(Object.keys(refused.headers).filter(name => /ratelimit|retry/i.test(name))).toEqual([]);
    for (let n = 0; n < perMinute; n += 1) {
      expect((await get(`${route}/${PAYER}`, owner)).statusCode).toBe(200);
    }
    expect((await get(`${route}/${PAYER}`, owner)).statusCode).toBe(429);
    expect((await get(`${route}/${PAYER}`, {})).statusCode).toBe(402);
  });

  it('is told when a part is down, and nothing about why', async () => {
    const down = async () => {
      throw unavailable('the database', new Error('postgres://user:secret@db'));
    };
    fixture = await veniceApp({ accounts: { walletBalance: down, walletStatement: down } });
    const response = await get(`${route}/${PAYER}`);
    expect(response.statusCode).toBe(503);
    expect(response.headers['retry-after']).toBe('2');
    expect(response.json()).toMatchObject({ error: 'SERVICE_UNAVAILABLE' });
    expect(response.body).not.toContain('secret');
  });

  it('is not told the text of an unexpected error', async () => {
    const broken = async () => {
      throw new Error('SELECT secret');
    };
    fixture = await veniceApp({ accounts: { walletBalance: broken, walletStatement: broken } });
    const response = await get(`${route}/${PAYER}`);
    expect(response.statusCode).toBe(500);
    expect(response.json()).toEqual({ error: 'INTERNAL_ERROR', message: 'Internal server error' });
  });

  it('is any page in a browser', async () => {
    const preflight = await fixture.app.inject({
      method: 'OPTIONS',
      url: `/api/v1/x402/${route}/${PAYER}`,
      headers: { origin: 'https://app.example', 'access-control-request-method': 'GET' },
    });
    expect(preflight.statusCode).toBe(204);
    const allowed = String(preflight.headers['access-control-allow-headers']).toLowerCase().split(', ');
    expect(allowed).toEqual(expect.arrayContaining(['sign-in-with-x', 'x-sign-in-with-x']));
    const response = await get(`${route}/${PAYER}`, {});
    expect(response.headers['access-control-allow-origin']).toBe('*');
    expect(response.headers['access-control-expose-headers']).toContain('PAYMENT-REQUIRED');
  });
});

describe('other paths and methods', () => {
  it.each<[string, 'GET' | 'POST' | 'DELETE', number, string, string | undefined]>([
    ['/api/v1/nothing', 'GET', 404, 'NOT_FOUND', undefined],
    ['/api/v1/x402/balance', 'GET', 404, 'NOT_FOUND', undefined],
    ['/api/v1/x402/top-up', 'GET', 405, 'METHOD_NOT_ALLOWED', 'POST'],
    [`/api/v1/x402/balance/${PAYER}`, 'POST', 405, 'METHOD_NOT_ALLOWED', 'GET, HEAD'],
    [`/api/v1/x402/transactions/${PAYER}?limit=1`, 'DELETE', 405, 'METHOD_NOT_ALLOWED', 'GET, HEAD'],
  ])('%s by %s', async (url, method, status, error, allow) => {
    const response = await fixture.app.inject({ method, url });
    expect([response.statusCode, response.headers['allow']]).toEqual([status, allow]);
    expect(response.json()).toEqual({ error, message: expect.any(String) });
    expect(response.headers['access-control-allow-origin']).toBe('*');
    expect(response.headers['cache-control']).toBe('no-store');
  });
});
