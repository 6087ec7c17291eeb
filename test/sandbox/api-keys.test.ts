import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { callSandbox, openSandboxes, type Sandbox, type Sandboxes } from '../support/sandbox.ts';

let sandboxes: Sandboxes;
let sandbox: Sandbox;

beforeAll(async () => {
  sandboxes = await openSandboxes();
  sandbox = await sandboxes.start('keys');
});

afterAll(async () => {
  await sandboxes.stopAll();
  await sandboxes.remove();
});

const makeKey = (order: object) =>
  callSandbox(sandbox, '/sandbox/v1/api-keys', { dialect: 'aitopup', ...order });

const withKey = (apiKey: string) => ({ authorization: `Bearer ${apiKey}` });

function balanceOf(apiKey: string) {
  return callSandbox(sandbox, '/api/public/v1/topup/balance', undefined, withKey(apiKey));
}

describe('POST /sandbox/v1/api-keys for aitopup', () => {
  it.each([
    [{ environment: 'staging' }, 'ak_staging_', 'test', 'staging', 100_000],
    [{ environment: 'test' }, 'ak_staging_', 'test', 'staging', 100_000],
    [{ environment: 'staging', balanceUsd: '0' }, 'ak_staging_', 'test', 'staging', 0],
    [{ environment: 'staging', balanceUsd: '12.34' }, 'ak_staging_', 'test', 'staging', 1_234],
    [{}, 'ak_live_', 'live', 'live', 0],
    [{ environment: 'live', balanceUsd: '100' }, 'ak_live_', 'live', 'live', 10_000],
  ])('with %o makes a key that starts with %s', async (order, prefix, environment, shown, cents) => {
    const made = await makeKey(order);
    expect(made).toEqual({
      status: 200,
      body: {
        apiKey: expect.stringMatching(new RegExp(`^${prefix}[A-Za-z0-9]{40}$`)),
        customerId: expect.any(String),
        environment,
      },
    });
    expect(await balanceOf(made.body['apiKey'] ?? '')).toMatchObject({
      status: 200,
      body: { code: 1000, data: { balance_cents: cents, environment: shown } },
    });
  });

  it('makes a key that sends at once', async () => {
    const { body } = await makeKey({ environment: 'staging' });
    const order = { platform: 'gemini', amount_cents: 2_500, recipient_email: 'dana@example.org' };
    const sent = await callSandbox(
      sandbox,
      '/api/public/v1/topup/send',
      order,
      withKey(body['apiKey'] ?? ''),
    );
    expect(sent).toMatchObject({
      status: 200,
      body: { code: 1001, data: { wallet_balance_cents: 97_500, environment: 'staging' } },
    });
  });

  it.each([
    { dialect: 'venice' },
    { dialect: 'toString' },
    { environment: 'sandbox' },
    { balanceUsd: '-1' },
    { balanceUsd: '1000000.01' },
    { balanceUsd: 100 },
    { capUsd: '1' },
  ])('refuses %o', async order => {
    expect(await makeKey(order)).toMatchObject({ status: 400, body: { error: 'malformed_request' } });
  });
});
