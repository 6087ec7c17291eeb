import { beforeEach, describe, expect, it } from 'vitest';
import { unavailable } from '../../../src/lib/errors.ts';
import { type DriaFixture, driaApp, LIVE_KEY, NOW_MS, TEST_KEY, topUp } from './dria-app.ts';

let fixture: DriaFixture;
beforeEach(async () => {
  fixture = await driaApp();
});

function call(
  method: 'GET' | 'POST',
  path: string,
  options: { key?: string; body?: unknown; remoteAddress?: string } = {},
) {
  return fixture.app.inject({
    method,
    url: `/v1${path}`,
    headers: { authorization: `Bearer ${options.key ?? LIVE_KEY}` },
    ...(options.body !== undefined && { payload: JSON.stringify(options.body) }),
    ...(options.remoteAddress !== undefined && { remoteAddress: options.remoteAddress }),
  });
}

function expectText(answer: Awaited<ReturnType<typeof call>>, status: number) {
  expect(answer.statusCode).toBe(status);
  expect(answer.headers['content-type']).toBe('text/plain; charset=utf-8');
  expect(answer.headers['cache-control']).toBe('no-store');
  expect(answer.body).toMatch(/^[^{\s].*\S$/);
}

describe('the balance', () => {
  it.each<[bigint, object]>([
    [0n, { balance: 0, balance_usdc: '0.00' }],
    [9_999_999n, { balance: 0, balance_usdc: '0.00' }],
    [10_000_000n, { balance: 1, balance_usdc: '0.01' }],
    [100_000_000n, { balance: 10, balance_usdc: '0.10' }],
    [7_359_999_999n, { balance: 735, balance_usdc: '7.35' }],
    [123_456_780_000_000n, { balance: 12_345_678, balance_usdc: '123456.78' }],
    [2n ** 63n - 1n, { balance: 922_337_203_685, balance_usdc: '9223372036.85' }],
  ])('of %i nano-USD is in whole credits', async (nanoUsd, body) => {
    fixture.availableNanoUsd = nanoUsd;
    const answer = await call('GET', '/credits/balance');
    expect(answer.statusCode).toBe(200);
    expect(answer.headers['cache-control']).toBe('no-store');
    expect(answer.json()).toEqual(body);
    expect(answer.body).toBe(JSON.stringify(body));
  });

  it('needs a key', async () => {
    const answer = await fixture.app.inject({ url: '/v1/credits/balance' });
    expectText(answer, 401);
    expect(answer.body).toBe('invalid or missing API key');
  });

  it('is not invented when a part is down', async () => {
    fixture = await driaApp({
      credit: {
        available: () => Promise.reject(unavailable('the database')),
      },
    });
    const answer = await call('GET', '/credits/balance');
    expectText(answer, 503);
    expect(answer.headers['retry-after']).toBe('2');
  });
});

describe('the models', () => {
  it('are listed as OpenAI clients read them', async () => {
    const answer = await call('GET', '/models');
    expect(answer.statusCode).toBe(200);
    expect(answer.json()).toEqual({
      object: 'list',
      data: [{ id: 'qwen3.5:9b', object: 'model', created: 1773360000, owned_by: 'dria', nodes: 1 }],
    });
    expectText(await fixture.app.inject({ url: '/v1/models' }), 401);
  });
});

describe('registering a wallet', () => {
  const body = {
    address: '0x19E7E376E7C213B7E7e7e46cc70A5dD086DAff2A',
    message: 'gateway.example wants …',
    signature: `0x${'ab'.repeat(65)}`,
  };

  const register = (changes: object = {}) =>
    fixture.app.inject({
      method: 'POST',
      url: '/v1/auth/wallet',
      payload: JSON.stringify({ ...body, ...changes }),
    });

  it('needs no key and answers one in both spellings', async () => {
    const answer = await register();
    expect(answer.statusCode).toBe(200);
    expect(answer.json()).toEqual({
      api_key: LIVE_KEY,
      apiKey: LIVE_KEY,
      address: body.address.toLowerCase(),
    });
    expect(answer.headers['cache-control']).toBe('no-store');
    expect(fixture.registrations).toEqual([
      { dialect: 'dria', environment: 'live', network: 'eip155:8453', proof: body },
    ]);
  });

  it('for the test environment is on its network', async () => {
    await register({ environment: 'test' });
    expect(fixture.registrations).toMatchObject([{ environment: 'test', network: 'eip155:84532' }]);
    fixture = await driaApp({ paymentOptions: [] });
    expectText(await register({ environment: 'test' }), 400);
    expectText(await register(), 400);
  });

  it.each<object>([
    { address: undefined },
    { address: '0x12' },
    { address: `0x${'ab'.repeat(19)}aB` },
    { message: '' },
    { message: 7 },
    { message: 'x'.repeat(2_001) },
    { signature: '0xabc' },
    { signature: `0x${'ab'.repeat(4097)}` },
    { environment: 'staging' },
  ])('is malformed with %o', async changes => {
    expectText(await register(changes), 400);
    expect(fixture.registrations).toEqual([]);
  });
});

describe('a channel', () => {
  const post = (body: unknown, key = LIVE_KEY) => call('POST', '/channel', { body, key });

  it('takes a message and gives it back', async () => {
    const answer = await post({
      channel: 'general',
      content: 'hello\nthere',
      name: 'agent_7-b',
      avatar: 'https://a.example/x.png',
    });
    expect(answer.statusCode).toBe(200);
    expect(answer.json()).toEqual({
      id: 'message-1',
      channel: 'general',
      author: 'customer-1',
      authorName: 'agent_7-b',
      authorType: 'api',
      content: 'hello\nthere',
      createdAt: new Date(NOW_MS).toISOString(),
    });
    const list = await call('GET', '/channel?channel=general');
    expect(list.json()).toEqual({ messages: [answer.json()] });
    expect((await call('GET', '/channel?channel=requests')).json()).toEqual({ messages: [] });
    expect((await call('GET', '/channel?channel=general', { key: TEST_KEY })).json()).toEqual({
      messages: [],
    });
  });

  it.each<object>([
    { channel: 'private' },
    { channel: undefined },
    { content: undefined },
    { content: '' },
    { content: ' \n' },
    { content: 'x'.repeat(2_001) },
    { name: '' },
    { name: 'Agent' },
    { name: 'two words' },
    { name: 'x'.repeat(33) },
    { avatar: 'http://a.example/x.png' },
    { avatar: 'javascript:alert(1)' },
    { avatar: 'https://' },
    { avatar: `https://a.example/${'x'.repeat(2_048)}` },
  ])('refuses a message with %o', async changes => {
    expectText(await post({ channel: 'general', content: 'hello', ...changes }), 400);
    expect(fixture.messages).toEqual([]);
  });

  it.each([
    '',
    '?channel=private',
    '?channel=general&limit=0',
    '?channel=general&limit=201',
    '?channel=general&limit=many',
    '?channel=general&before=yesterday',
    '?channel=general&after=2026-11-20T09:30:00',
  ])('refuses to be read by %j', async query => {
    expectText(await call('GET', `/channel${query}`), 400);
  });

  it.each(['?channel=general&limit=200', '?channel=general&before=2026-11-20T09:30:00Z&limit=1'])(
    'is read by %j',
    async query => {
      expect((await call('GET', `/channel${query}`)).statusCode).toBe(200);
    },
  );
});

describe('everything else under the prefix', () => {
  it.each(['/v1', '/v1/', '/v1/nothing', '/v1/chat/completions', '/v1/credits'])(
    '%s is an unknown path in text',
    async url => {
      expectText(await fixture.app.inject({ method: 'POST', url, payload: '{}' }), 404);
    },
  );

  it.each([
    ['DELETE', '/v1/models', 'GET, HEAD'],
    ['GET', '/v1/credits/topup', 'POST'],
    ['HEAD', '/v1/credits/topup', 'POST'],
    ['PUT', '/v1/channel', 'GET, HEAD, POST'],
    ['POST', '/v1/credits/balance', 'GET, HEAD'],
    ['GET', '/v1/auth/wallet', 'POST'],
  ] as const)('%s %s is a wrong method', async (method, url, allow) => {
    const answer = await fixture.app.inject({ method, url, payload: method === 'GET' ? '' : 'not json' });
    expect(answer.statusCode).toBe(405);
    expect(answer.headers['allow']).toBe(allow);
    expect(answer.headers['content-type']).toBe('text/plain; charset=utf-8');
  });

  it('a body beyond the limit is too large', async () => {
    const body = { amount: '25', note: 'x'.repeat(70_000) };
    expectText(await topUp(fixture, { body }), 413);
  });
});

describe('browsers', () => {
  it('may send what clients send and read what they need', async () => {
    const preflight = await fixture.app.inject({
      method: 'OPTIONS',
      url: '/v1/credits/topup',
      headers: { origin: 'https://app.example', 'access-control-request-method': 'POST' },
    });
    expect(preflight.statusCode).toBe(204);
    expect(preflight.headers['access-control-allow-methods']).toContain('POST');
    expect(String(preflight.headers['access-control-allow-headers']).split(', ')).toEqual([
      'authorization',
      'content-type',
      'x-payment',
      'payment-signature',
      'access-control-expose-headers',
    ]);
    for (const answer of [
      preflight,
      await topUp(fixture),
      await topUp(fixture, { key: undefined }),
      await fixture.app.inject('/v1/nothing'),
    ]) {
      expect(answer.headers['access-control-allow-origin']).toBe('*');
      expect(answer.headers['access-control-allow-credentials']).toBeUndefined();
      expect(answer.headers['access-control-expose-headers']).toBe(
        'X-PAYMENT-RESPONSE, PAYMENT-RESPONSE, PAYMENT-REQUIRED, Retry-After',
      );
    }
  });
});

describe('the rate limit', () => {
  beforeEach(async () => {
    fixture = await driaApp({ rateLimits: true });
  });

  it('counts by key and says when to come back', async () => {
    const post = (key: string) =>
      call('POST', '/channel', { key, body: { channel: 'general', content: 'hi' } });
    for (let n = 0; n < 10; n += 1) expect((await post(LIVE_KEY)).statusCode).toBe(200);
    const refused = await post(LIVE_KEY);
    expectText(refused, 429);
    expect(refused.headers['retry-after']).toMatch(/^[1-9]\d?$/);
    expect((await post(TEST_KEY)).statusCode).toBe(200);
    expect((await call('GET', '/credits/balance')).statusCode).toBe(200);
  });

  it('counts registrations by address', async () => {
    const register = (remoteAddress: string) => call('POST', '/auth/wallet', { body: {}, remoteAddress });
    for (let n = 0; n < 10; n += 1) expect((await register('192.0.2.1')).statusCode).toBe(400);
    const refused = await register('192.0.2.1');
    expectText(refused, 429);
    expect(refused.headers['retry-after']).toMatch(/^[1-9]\d?$/);
    expect((await register('192.0.2.2')).statusCode).toBe(400);
  });
});

describe('a key’s address', () => {
  it('is the caller’s', async () => {
    await call('GET', '/models', { remoteAddress: '203.0.113.7' });
    expect(fixture.callers).toEqual(['203.0.113.7']);
  });
});
