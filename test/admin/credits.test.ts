import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { resolveRecipient, resolveWallet } from '../../src/customers/customers.ts';
import { DEFAULT_CELL } from '../../src/db/queryable.ts';
import { readSystemBalances, reconcileLedger } from '../../src/ledger/reconcile.ts';
import { newId } from '../../src/lib/ids.ts';
import { startGateway, type TestGateway } from '../support/gateway.ts';

let gateway: TestGateway;

beforeAll(async () => {
  gateway = await startGateway();
});

afterAll(async () => {
  expect((await reconcileLedger(gateway.sql, DEFAULT_CELL)).breaks).toEqual([]);
  await gateway?.stop();
});

const order = { amountUsd: '250.5', reason: 'invoice 117 was paid', actor: 'dana' };

function credit(customerId: string, name: string | undefined, payload: object = order, on = gateway) {
  return on.app.inject({
    method: 'POST',
    url: `/admin/v1/customers/${customerId}/credits`,
    headers: {
      authorization: `Bearer ${gateway.config.adminApiKey}`,
      ...(name !== undefined && { 'idempotency-key': name }),
    },
    payload,
  });
}

const createKey = (environment: 'live' | 'test' = 'live') =>
  gateway.services.createFundedKey({ dialect: 'aitopup', environment, balanceNanoUsd: 0n });

async function balanceOf(apiKey: string): Promise<unknown> {
  const headers = { authorization: `Bearer ${apiKey}` };
  const answer = await gateway.app.inject({ url: '/api/public/v1/topup/balance', headers });
  return answer.json<{ data: { balance_cents: number } }>().data.balance_cents;
}

describe('the operator', () => {
  it('fills the wallet of a key’s owner, with reason and actor in the books', async () => {
    const { apiKey, customerId } = await createKey();
    const answer = await credit(customerId, newId());
    expect(answer.statusCode, answer.body).toBe(200);
    expect(answer.json()).toEqual({
      creditId: expect.any(String),
      customerId,
      environment: 'live',
      amountUsd: '250.5',
      availableUsd: '250.5',
      replayed: false,
    });
    expect(await balanceOf(apiKey)).toBe(25_050);
    const { rows } = await gateway.sql.query(
      `SELECT t.amount, t.contra, o.reason, o.actor FROM cell_0.transfer t JOIN cell_0.operator_action o USING (account_id, id)
       WHERE id = $1`,
      [answer.json<{ creditId: string }>().creditId],
    );
    expect(rows).toEqual([{ amount: '250500000000', contra: 8, reason: order.reason, actor: order.actor }]);
  });

  it('credits a wallet that never paid, and a staging key with test money', async () => {
    const wallet = { network: 'eip155:8453', address: `0x${'5'.repeat(40)}` };
    const { customerId } = await resolveWallet(gateway.sql, { environment: 'live', ...wallet });
    expect((await credit(customerId, newId())).statusCode).toBe(200);
    expect(await gateway.services.accounts.walletBalance(wallet.network, wallet.address)).toEqual({
      availableNanoUsd: 250_500_000_000n,
    });
    const staging = await createKey('test');
    expect((await credit(staging.customerId, newId())).json()).toMatchObject({ environment: 'test' });
    expect(await balanceOf(staging.apiKey)).toBe(25_050);
  });

  it('books one credit for a name, however often and on however many replicas it is ordered', async () => {
    const replica = await startGateway({ replicaOf: gateway });
    const { apiKey, customerId } = await createKey();
    const name = newId();
    const answers = await Promise.all(
      Array.from({ length: 12 }, (_, n) => credit(customerId, name, order, n % 2 ? replica : gateway)),
    );
    await replica.stop();
    const bodies = answers.map(answer => answer.json<{ creditId: string; replayed: boolean }>());
    expect(new Set(answers.map(answer => answer.statusCode))).toEqual(new Set([200]));
    expect(new Set(bodies.map(body => body.creditId)).size).toBe(1);
    expect(bodies.filter(body => !body.replayed)).toHaveLength(1);
    expect(await balanceOf(apiKey)).toBe(25_050);

    const other = await createKey();
    for (const [id, body] of [
      [customerId, { ...order, amountUsd: '1' }],
      [customerId, { ...order, reason: 'another' }],
      [customerId, { ...order, actor: 'another' }],
      [other.customerId, order],
    ] as const) {
      const refused = await credit(id, name, body);
      expect([refused.statusCode, refused.json()]).toMatchObject([409, { error: 'conflict' }]);
    }
    expect([await balanceOf(apiKey), await balanceOf(other.apiKey)]).toEqual([25_050, 0]);
  });

  it('finishes by the same order what a crash left undone', async () => {
    const { apiKey, customerId } = await createKey();
    const name = newId();
    await gateway.sql.query(
      `INSERT INTO directory.operator_credit (idempotency_key, credit_id, customer_id, environment, amount, reason, actor)
       VALUES ($1, $2, $3, 'live', 250500000000, $4, $5)`,
      [name, newId(), customerId, order.reason, order.actor],
    );
    expect((await credit(customerId, name)).json()).toMatchObject({ replayed: false });
    expect((await credit(customerId, name)).json()).toMatchObject({ replayed: true });
    expect(await balanceOf(apiKey)).toBe(25_050);
  });

  it('sees such credit apart from what was given away', async () => {
    const systemBalance = async () => {
      const balances = await readSystemBalances(gateway.sql, DEFAULT_CELL);
      return balances.find(each => each.contra === 8 && each.environment === 'live')?.amountNanoUsd ?? 0n;
    };
    const before = await systemBalance();
    await credit((await createKey()).customerId, newId());
    expect(await systemBalance()).toBe(before - 250_500_000_000n);
  });
});

describe('a credit is refused', () => {
  it('to a recipient’s wallet and to nobody', async () => {
    const value = 'claude:dana@example.org';
    const { customerId } = await resolveRecipient(gateway.sql, { environment: 'live', value });
    expect((await credit(customerId, newId())).statusCode).toBe(409);
    expect((await credit(newId(), newId())).statusCode).toBe(404);
  });

  it.each([
    ['no name', undefined, {}],
    ['an empty name', '', {}],
    ['a name that is too long', 'x'.repeat(256), {}],
    ['nothing', 'a', { amountUsd: '0' }],
    ['less', 'a', { amountUsd: '-1' }],
    ['a number', 'a', { amountUsd: 1 }],
    ['too many decimals', 'a', { amountUsd: '0.0000000001' }],
    ['more than an account holds', 'a', { amountUsd: '9000000000' }],
    ['no reason', 'b', { reason: '' }],
    ['no actor', 'b', { actor: undefined }],
    ['a reason that cannot be stored', 'b', { reason: '\0' }],
    ['an unknown member', 'b', { more: 1 }],
  ])('with %s', async (_, name, change) => {
    const { apiKey, customerId } = await createKey();
    const refused = await credit(customerId, name && `${name}${customerId}`.slice(0, 256), {
      ...order,
      ...change,
    });
    expect([refused.statusCode, refused.json()]).toMatchObject([400, { error: 'malformed_request' }]);
    expect(await balanceOf(apiKey)).toBe(0);
  });

  it('without the operator’s key', async () => {
    const { customerId } = await createKey();
    const url = `/admin/v1/customers/${customerId}/credits`;
    expect((await gateway.app.inject({ method: 'POST', url, payload: order })).statusCode).toBe(401);
  });
});
