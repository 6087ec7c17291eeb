import { afterAll, beforeAll, expect, it } from 'vitest';
import { startGateway, type TestGateway } from '../support/gateway.ts';

let gateway: TestGateway;

beforeAll(async () => {
  gateway = await startGateway();
});

afterAll(() => gateway?.stop());

const create = (payload: object) =>
  gateway.app.inject({
    method: 'POST',
    url: '/admin/v1/topup-keys',
    headers: { authorization: `Bearer ${gateway.config.adminApiKey}` },
    payload,
  });

async function balanceOf(apiKey: string) {
  const headers = { authorization: `Bearer ${apiKey}` };
  const answer = await gateway.app.inject({ url: '/api/public/v1/topup/balance', headers });
  return answer.json<{ code: number; data: unknown }>();
}

it('the operator makes keys with credit, a cap and a list of addresses', async () => {
  const made = await create({ balanceUsd: '25.50', capUsd: '10' });
  expect(made.json()).toMatchObject({ apiKey: expect.stringMatching(/^ak_live_/), environment: 'live' });
  const live = await balanceOf(made.json<{ apiKey: string }>().apiKey);
  expect(live).toMatchObject({ code: 1000, data: { balance_cents: 2_550, key: { cap_cents: 1_000 } } });
  const staging = await create({ environment: 'test', allowedAddresses: ['203.0.113.7'] });
  expect(await balanceOf(staging.json<{ apiKey: string }>().apiKey)).toMatchObject({ code: 4002 });
  expect(
    await balanceOf((await create({ environment: 'test' })).json<{ apiKey: string }>().apiKey),
  ).toMatchObject({
    data: { balance_cents: 100_000, environment: 'staging' },
  });
});

it('a key is used from the networks that the operator allows', async () => {
  const proxied = await startGateway({ replicaOf: gateway, settings: { TRUST_PROXY: '127.0.0.1/32' } });
  const made = await create({ allowedAddresses: ['203.0.113.5/24', '2001:db8::/32', '198.51.100.7'] });
  const { apiKey } = made.json<{ apiKey: string }>();
  const codeFrom = async (address: string) => {
    const headers = { authorization: `Bearer ${apiKey}`, 'x-forwarded-for': address };
    const answer = await proxied.app.inject({ url: '/api/public/v1/topup/balance', headers });
    return answer.json<{ code: number }>().code;
  };
  const codes = [];
  for (const address of [
    '203.0.113.200',
    '2001:db8:1::9',
    '::ffff:198.51.100.7',
    '203.0.114.1',
    '2001:db9::1',
  ])
    codes.push(await codeFrom(address));
  await proxied.stop();
  expect(codes).toEqual([1000, 1000, 1000, 4002, 4002]);
});

it.each([
  { capUsd: '0' },
  { balanceUsd: '-1' },
  { allowedAddresses: ['everywhere'] },
  { allowedAddresses: ['203.0.113.0/33'] },
  { allowedAddresses: ['203.0.113.0/'] },
  { allowedAddresses: ['fe80::1%eth0'] },
  { allowedAddresses: Array(101).fill('203.0.113.7') },
  { environment: 'x' },
])('refuses %o', async body => {
  expect((await create(body)).statusCode).toBe(400);
});
