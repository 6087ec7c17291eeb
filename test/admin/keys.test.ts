import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startGateway, type TestGateway } from '../support/gateway.ts';

let gateway: TestGateway;

beforeAll(async () => {
  gateway = await startGateway();
});

afterAll(() => gateway?.stop());

const UNKNOWN = '01a1fafa-e567-7697-b12b-f32732332f41';

async function call(method: 'GET' | 'POST' | 'DELETE', path: string, payload?: object) {
  const response = await gateway.app.inject({
    method,
    url: `/admin/v1/keys${path}`,
    headers: { authorization: `Bearer ${gateway.config.adminApiKey}` },
    ...(payload && { payload }),
  });
  return { status: response.statusCode, body: response.json<Record<string, unknown>>() };
}

describe('keys in the operator’s API', () => {
  it('are made, listed and ended', async () => {
    const made = await call('POST', '', {
      dialect: 'dria',
      capUsd: '5',
      allowedAddresses: ['127.0.0.0/8'],
      actor: 'ada',
    });
    const { apiKey, ...key } = made.body;
    expect([made.status, key]).toMatchObject([
      200,
      {
        dialect: 'dria',
        environment: 'live',
        state: 'usable',
        capUsd: '5',
        createdBy: 'ada',
        revokedBy: null,
      },
    ]);
    const balance = () =>
      gateway.app.inject({
        url: '/v1/credits/balance',
        headers: { authorization: `Bearer ${String(apiKey)}` },
      });
    expect((await balance()).statusCode).toBe(200);

    const other = await call('POST', '', { dialect: 'aitopup', environment: 'test' });
    expect(other.body).toMatchObject({ environment: 'test', createdBy: 'operator' });
    const mine = `?customerId=${String(key['customerId'])}`;
    expect((await call('GET', mine)).body).toEqual({ keys: [key], hasMore: false });
    expect((await call('GET', '?limit=1')).body).toMatchObject({
      keys: [{ keyId: other.body['keyId'] }],
      hasMore: true,
    });

    const ended = await call('DELETE', `/${String(key['keyId'])}?actor=bob`);
    expect([ended.status, ended.body]).toMatchObject([200, { state: 'revoked', revokedBy: 'bob' }]);
    expect((await call('DELETE', `/${String(key['keyId'])}?actor=eve`)).body).toEqual(ended.body);
    expect((await call('GET', `${mine}&usable=true`)).body).toEqual({ keys: [], hasMore: false });
    expect(JSON.stringify((await call('GET', '')).body)).not.toContain(String(apiKey));
  });

  it.each<['GET' | 'POST' | 'DELETE', string, object | undefined, number]>([
    ['POST', '', { dialect: 'venice' }, 400],
    ['POST', '', { dialect: 'dria', capUsd: 5 }, 400],
    ['POST', '', { dialect: 'dria', allowedAddresses: ['office'] }, 400],
    ['POST', '', { dialect: 'dria', expiresAt: 'tomorrow' }, 400],
    ['POST', '', { dialect: 'dria', surprise: true }, 400],
    ['POST', '', { dialect: 'dria', customerId: UNKNOWN }, 404],
    ['GET', '?limit=0', undefined, 400],
    ['GET', `?wallet=eip155:8453:0x${'9'.repeat(40)}`, undefined, 404],
    ['DELETE', '/dkn_live_x', undefined, 400],
    ['DELETE', `/${UNKNOWN}`, undefined, 404],
  ])('refuse %s %s %o', async (method, path, payload, status) => {
    expect((await call(method, path, payload)).status).toBe(status);
  });

  it('are the operator’s alone', async () => {
    for (const [method, url] of [
      ['GET', '/admin/v1/keys'],
      ['POST', '/admin/v1/keys'],
      ['DELETE', `/admin/v1/keys/${UNKNOWN}`],
    ] as const) {
      expect((await gateway.app.inject({ method, url })).statusCode).toBe(401);
    }
  });
});
