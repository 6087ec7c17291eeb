import { decodeFunctionData, type Hex, parseAbi } from 'viem';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { findAgent } from '../../../src/customers/agent-customers.ts';
import { decodeBase64Json } from '../../../src/lib/base64.ts';
import { localChain, usdcBalance } from '../../support/chain.ts';
import { startGateway } from '../../support/gateway.ts';
import { leaveClaim, sendByStranger } from '../../support/interrupted-payment.ts';
import { BASE_USDC, createPayer, paymentHeader, type SignedPayment } from '../../support/payment.ts';
import {
  call,
  ledgerBreaks,
  type MobulaGateway,
  movableClock,
  pay,
  sign,
  status,
  subscribe,
} from './mobula-gateway.ts';

const clock = movableClock();
let gateway: MobulaGateway;

beforeAll(async () => {
  gateway = { ...(await startGateway({ clock })), clock };
});
afterEach(async () => {
  expect(await ledgerBreaks(gateway)).toEqual([]);
});
afterAll(async () => {
  await gateway?.stop();
});

/** The payment of a transaction, rebuilt from its call data alone. */
async function readFromChain(hash: Hex): Promise<SignedPayment> {
  const { input } = await localChain().getTransaction({ hash });
  const abi = parseAbi([
    'function transferWithAuthorization(address,address,uint256,uint256,uint256,bytes32,uint8,bytes32,bytes32)',
    'function transferWithAuthorization(address,address,uint256,uint256,uint256,bytes32,bytes)',
  ]);
  const { args } = decodeFunctionData({ abi, data: input });
  const [from, to, value, validAfter, validBefore, nonce, ...rest] = args;
  const signature: Hex =
    rest.length === 1 ? rest[0] : `${rest[1]}${rest[2].slice(2)}${rest[0].toString(16).padStart(2, '0')}`;
  return { authorization: { from, to, value, validAfter, validBefore, nonce }, signature };
}

const SUBSCRIBE = '/subscribe?plan=startup&payment_frequency=monthly';

describe('the offer', () => {
  it('is in the header and the body, priced by plan and frequency', async () => {
    for (const [query, amount] of [
      ['plan=startup&payment_frequency=monthly', '50000000'],
      ['plan=%20Startup%20&payment_frequency=YEARLY', '400000000'],
      ['plan=growth&payment_frequency=monthly', '400000000'],
      ['plan=enterprise&payment_frequency=yearly', '7200000000'],
    ]) {
      const answer = await call(gateway, `/subscribe?${query}`);
      expect(answer.status).toBe(402);
      expect(decodeBase64Json(String(answer.headers['payment-required']))).toEqual(answer.body);
      expect(answer.body).toMatchObject({
        x402Version: 2,
        resource: { url: `http://127.0.0.1:4020/agent/x402/subscribe?${query}` },
        accepts: [
          {
            network: 'eip155:8453',
            amount,
            asset: BASE_USDC.toLowerCase(),
            payTo: gateway.payTo,
            extra: { name: 'USD Coin', version: '2' },
          },
        ],
      });
    }
  });

  it.each([
    ['/top-up?agent_id=a&amount_usd=5', 403],
    ['/top-up?agent_id=a&amount_usd=10000.01', 403],
    ['/top-up?agent_id=a&amount_usd=0', 400],
    ['/top-up?agent_id=a&amount_usd=-20', 400],
    ['/top-up?agent_id=a&amount_usd=20.0000001', 400],
    ['/top-up?agent_id=a&amount_usd=1e3', 400],
    ['/top-up?agent_id=a', 400],
    ['/top-up?agent_id=&amount_usd=20', 400],
    ['/top-up?agent_id=a&amount_usd=20&amount_usd=30', 400],
    ['/subscribe?plan=free&payment_frequency=monthly', 400],
    ['/subscribe?plan=startup&payment_frequency=weekly', 400],
    ['/subscribe?plan=startup', 400],
  ])('is not made for a bad query: %s is %d', async (path, expected) => {
    const payment = await sign(gateway, await createPayer(0n), 20);
    expect((await call(gateway, path)).status).toBe(expected);
    expect((await call(gateway, path, { payment })).status).toBe(expected);
  });
});

describe('an agent', () => {
  it('subscribes, sees its plan, tops up, makes a key and revokes it', async () => {
    const payer = await createPayer();
    const { apiKey, agentId } = await subscribe(gateway, payer);
    expect(apiKey).toMatch(/^mbl_[A-Za-z0-9]{40}$/);
    expect(agentId).toMatch(/^agt_[0-9a-f]{32}$/);
    expect(await status(gateway, payer)).toEqual({
      user_id: agentId,
      api_keys: [apiKey],
      plan: 'startup',
      last_payment: expect.stringMatching(/^\d{4}-\d\d-\d\dT.*Z$/),
      payment_frequency: 'monthly',
      left_days: 30,
      credits_left: 125_000,
      plan_active: true,
    });
    const topup = await pay(gateway, payer, `/top-up?agent_id=${agentId}&amount_usd=25`);
    expect(topup).toMatchObject({ status: 200, body: { credits_added: 62_500, new_credits_limit: 187_500 } });
    expect(decodeBase64Json(String(topup.headers['payment-response']))).toMatchObject({
      success: true,
      network: 'eip155:8453',
      payer: payer.address.toLowerCase(),
    });
    const created = await pay(gateway, payer, '/api-keys/create');
    expect(created).toMatchObject({ status: 200, body: { user_id: agentId } });
    const second = String(created.body['api_key']);
    expect(await status(gateway, payer)).toMatchObject({ api_keys: [second, apiKey], credits_left: 187_500 });

    expect(await pay(gateway, payer, `/api-keys/revoke?api_key=${apiKey}`, 'DELETE')).toMatchObject({
      status: 200,
      body: { deleted: true },
    });
    expect(await pay(gateway, payer, `/api-keys/revoke?api_key=${second}`)).toMatchObject({ status: 200 });
    expect(await status(gateway, payer)).toMatchObject({ api_keys: [], credits_left: 187_500 });
    // $50 + $25 and seven fees.
    expect(await usdcBalance(payer.address)).toBe(1_000_000_000n - 75_006_000n);
  });

  it('is unknown before it subscribes, and is not charged for being told so', async () => {
    const payer = await createPayer();
    for (const path of ['/subscription', '/api-keys/create', '/api-keys/revoke?api_key=mbl_x']) {
      expect(await pay(gateway, payer, path)).toMatchObject({ status: 404, body: { error: 'not_found' } });
    }
    expect(await pay(gateway, payer, '/top-up?agent_id=agt_x&amount_usd=20')).toMatchObject({ status: 404 });
    expect(await usdcBalance(payer.address)).toBe(1_000_000_000n);
  });

  it('cannot revoke or name what is another agent’s', async () => {
    const [owner, stranger] = [await createPayer(), await createPayer()];
    const { apiKey, agentId } = await subscribe(gateway, owner);
    await subscribe(gateway, stranger);
    expect(await pay(gateway, stranger, `/api-keys/revoke?api_key=${apiKey}`)).toMatchObject({ status: 404 });
    expect(await pay(gateway, stranger, `${SUBSCRIBE}&user_id=${agentId}`)).toMatchObject({ status: 403 });
    expect(await pay(gateway, stranger, `${SUBSCRIBE}&api_key=${apiKey}`)).toMatchObject({ status: 403 });
    expect(await status(gateway, owner)).toMatchObject({ api_keys: [apiKey] });
  });

  it('may be topped up by another wallet', async () => {
    const [owner, friend] = [await createPayer(), await createPayer()];
    const { agentId } = await subscribe(gateway, owner);
    expect(await pay(gateway, friend, `/top-up?agent_id=${agentId}&amount_usd=20.5`)).toMatchObject({
      status: 200,
      body: { credits_added: 51_250, new_credits_limit: 176_250 },
    });
    expect(await status(gateway, owner)).toMatchObject({ credits_left: 176_250 });
  });
});

describe('the check of a key for backends', () => {
  async function verify(apiKey: string, authorization = `Bearer ${gateway.config.adminApiKey}`) {
    const url = '/admin/v1/keys/verify';
    const headers = { authorization };
    const response = await gateway.app.inject({ method: 'POST', url, headers, body: { apiKey } });
    return { status: response.statusCode, body: response.json<Record<string, unknown>>() };
  }

  it('tells customer, plan and credits, and of a revoked key at once nothing', async () => {
    const payer = await createPayer();
    const { apiKey, agentId } = await subscribe(gateway, payer);
    for (const presented of [apiKey, `Bearer ${apiKey}`]) {
      expect((await verify(presented)).body).toMatchObject({
        valid: true,
        dialect: 'mobula',
        environment: 'live',
        userId: agentId,
        plan: 'startup',
        planActive: true,
        creditsLeft: '125000',
        availableUsd: '50',
      });
    }
    await pay(gateway, payer, `/api-keys/revoke?api_key=${apiKey}`, 'DELETE');
    expect(await verify(apiKey)).toEqual({ status: 200, body: { valid: false } });
    expect(await verify(`mbl_${'x'.repeat(40)}`)).toEqual({ status: 200, body: { valid: false } });
    expect(await verify('nonsense')).toEqual({ status: 200, body: { valid: false } });
  });

  it('is for the operator alone', async () => {
    expect((await verify('x', 'Bearer wrong')).status).toBe(401);
  });
});

describe('a payment', () => {
  it('gives the same answer however often it is sent, in either header', async () => {
    const payer = await createPayer();
    const { payment, answerToken, body } = await pay(gateway, payer, SUBSCRIBE);
    for (const header of ['payment-signature', 'x-payment']) {
      const again = await call(gateway, SUBSCRIBE, { payment, header, answerToken });
      expect(again).toMatchObject({ status: 200, body });
    }
    expect(await status(gateway, payer)).toMatchObject({ api_keys: [body['api_key']], left_days: 30 });
    expect(await usdcBalance(payer.address)).toBe(1_000_000_000n - 50_001_000n);
  });

  it('that was read from the chain tells nobody the keys', async () => {
    const payer = await createPayer();
    const bought = await pay(gateway, payer, SUBSCRIBE);
    const created = await pay(gateway, payer, '/api-keys/create');
    const asked = await pay(gateway, payer, '/subscription');
    expect([bought.status, created.status, asked.status]).toEqual([200, 200, 200]);
    for (const [path, paid] of [
      [SUBSCRIBE, bought],
      ['/api-keys/create', created],
      ['/subscription', asked],
    ] as const) {
      // All that a payment has on chain: the authorization and its signature.
      const receipt = decodeBase64Json(String(paid.headers['payment-response'])) as { transaction: Hex };
      const payment = await readFromChain(receipt.transaction);
      for (const guess of [{}, { answerToken: 'a guess' }, { answerToken: bought.answerToken.slice(1) }]) {
        const answer = await call(gateway, path, { payment, ...guess });
        expect(answer).toMatchObject({ status: 409, body: { error: 'payment_conflict' } });
      }
    }
  });

  it('that others sent to the chain first is credit of its wallet, and buys nobody a key', async () => {
    const payer = await createPayer();
    await subscribe(gateway, payer);
    const payment = await sign(gateway, payer, 0.001);
    await sendByStranger(payment);
    const before = await status(gateway, payer);
    expect(await call(gateway, '/api-keys/create', { payment, answerToken: 'mine' })).toMatchObject({
      status: 409,
    });
    expect(await status(gateway, payer)).toMatchObject({ api_keys: before['api_keys'] });
  });

  it('that was claimed for an agent before others sent it is credit of that agent, and of no other', async () => {
    const [owner, friend, thief] = [await createPayer(), await createPayer(), await createPayer()];
    const { agentId } = await subscribe(gateway, owner);
    const other = await subscribe(gateway, thief);
    const payment = await sign(gateway, friend, 20.5);
    const network = 'eip155:8453';
    const claimant = await findAgent(gateway.sql, { environment: 'live', network, address: owner.address });
    await leaveClaim(gateway.sql, payment, claimant ?? expect.unreachable());
    await sendByStranger(payment);
    const topUp = (agent: string) => call(gateway, `/top-up?agent_id=${agent}&amount_usd=20.5`, { payment });
    expect(await topUp(other.agentId)).toMatchObject({ status: 409, body: { error: 'payment_conflict' } });
    expect(await topUp(agentId)).toMatchObject({ status: 409, body: { error: 'conflict' } });
    expect(await status(gateway, owner)).toMatchObject({ credits_left: 176_250 });
    expect(await status(gateway, thief)).toMatchObject({ credits_left: 125_000 });
  });

  it('buys one plan when it is sent to two replicas at once', async () => {
    const replica = { ...(await startGateway({ replicaOf: gateway, clock })), clock };
    const payer = await createPayer();
    const payment = await sign(gateway, payer, 50);
    const answerToken = 'of the offer';
    const first = await Promise.all(
      [gateway, replica, gateway, replica].map(each => call(each, SUBSCRIBE, { payment, answerToken })),
    );
    expect(first.every(({ status: code }) => code === 200 || code === 503)).toBe(true);
    const settled = await call(replica, SUBSCRIBE, { payment, answerToken });
    expect(settled.status).toBe(200);
    expect(await status(gateway, payer)).toMatchObject({
      api_keys: [settled.body['api_key']],
      left_days: 30,
    });
    await replica.stop();
  });

  it('buys nothing but what it was first sent for', async () => {
    const payer = await createPayer();
    await subscribe(gateway, payer);
    const { payment } = await pay(gateway, payer, '/subscription');
    expect(await call(gateway, '/api-keys/create', { payment })).toMatchObject({
      status: 409,
      body: { error: 'payment_conflict' },
    });
    const other = await sign(gateway, payer, 400);
    const yearly = await call(gateway, '/subscribe?plan=startup&payment_frequency=yearly', {
      payment: other,
    });
    expect(yearly.status).toBe(200);
    const growth = await call(gateway, '/subscribe?plan=growth&payment_frequency=monthly&upgrade=true', {
      payment: other,
    });
    expect(growth.status).toBe(409);
    expect(await status(gateway, payer)).toMatchObject({ plan: 'startup' });
  });

  it('is refused with a fresh offer when it is of another amount, forged or not covered', async () => {
    const payer = await createPayer();
    const short = await call(gateway, SUBSCRIBE, { payment: await sign(gateway, payer, 49) });
    expect(short).toMatchObject({ status: 402, body: { accepts: [{ amount: '50000000' }] } });
    const payment = await sign(gateway, payer, 50);
    const forged = { ...payment, signature: `0x${'11'.repeat(65)}` as const };
    expect(await call(gateway, SUBSCRIBE, { payment: forged })).toMatchObject({ status: 402 });
    const poor = await createPayer(0n);
    expect(await pay(gateway, poor, SUBSCRIBE)).toMatchObject({ status: 402 });
    expect(await usdcBalance(payer.address)).toBe(1_000_000_000n);
  });
});

describe('a payment of version 1', () => {
  it('is answered in its own header; a repetition shows no keys, and a paid status does', async () => {
    const payer = await createPayer();
    const payment = await sign(gateway, payer, 50);
    const root = { x402Version: 1, scheme: 'exact', network: 'base' };
    const headers = { 'x-payment': paymentHeader(payment, root) };
    const send = () => gateway.app.inject({ url: `/agent/x402${SUBSCRIBE}`, headers });
    const bought = await send();
    expect(bought.statusCode).toBe(200);
    expect(bought.headers['payment-response']).toBeUndefined();
    expect(decodeBase64Json(String(bought.headers['x-payment-response']))).toMatchObject({
      success: true,
      network: 'base',
      payer: payer.address.toLowerCase(),
    });
    expect((await send()).statusCode).toBe(409);
    expect(await status(gateway, payer)).toMatchObject({ api_keys: [bought.json().api_key] });
  });
});

describe('a plan', () => {
  it('ends on the clock: status says so, keys and top-ups are refused, a renewal starts anew', async () => {
    const payer = await createPayer();
    const { agentId, apiKey } = await subscribe(gateway, payer);
    await pay(gateway, payer, `/top-up?agent_id=${agentId}&amount_usd=20`);
    clock.forwardDays(29);
    expect(await status(gateway, payer)).toMatchObject({
      plan_active: true,
      left_days: 1,
      credits_left: 175_000,
    });
    clock.forwardDays(1);
    expect(await status(gateway, payer)).toMatchObject({
      plan: 'startup',
      plan_active: false,
      left_days: 0,
      // What was topped up does not end.
      credits_left: 50_000,
      api_keys: [apiKey],
    });
    expect(await pay(gateway, payer, '/api-keys/create')).toMatchObject({ status: 403 });
    expect(await pay(gateway, payer, `/api-keys/revoke?api_key=${apiKey}`)).toMatchObject({ status: 403 });
    expect(await pay(gateway, payer, `/top-up?agent_id=${agentId}&amount_usd=20`)).toMatchObject({
      status: 403,
    });
    expect(await subscribe(gateway, payer, 'growth')).toEqual({ apiKey, agentId });
    expect(await status(gateway, payer)).toMatchObject({
      plan: 'growth',
      left_days: 30,
      credits_left: 1_300_000,
    });
  });

  it('is extended by a renewal, whose credits come when its time does', async () => {
    const payer = await createPayer();
    await subscribe(gateway, payer);
    clock.forwardDays(10);
    await subscribe(gateway, payer);
    expect(await status(gateway, payer)).toMatchObject({ left_days: 50, credits_left: 125_000 });
    clock.forwardDays(20);
    expect(await status(gateway, payer)).toMatchObject({
      left_days: 30,
      credits_left: 125_000,
      plan_active: true,
    });
    clock.forwardDays(30);
    expect(await status(gateway, payer)).toMatchObject({ left_days: 0, credits_left: 0, plan_active: false });
  });

  it('of a year gives its credits every month', async () => {
    const payer = await createPayer();
    await subscribe(gateway, payer, 'startup', 'yearly');
    for (let month = 0; month < 12; month += 1) {
      expect(await status(gateway, payer)).toMatchObject({
        payment_frequency: 'yearly',
        left_days: 365 - 30 * month,
        credits_left: 125_000,
      });
      clock.forwardDays(30);
    }
    expect(await status(gateway, payer)).toMatchObject({ left_days: 5, credits_left: 125_000 });
    clock.forwardDays(5);
    expect(await status(gateway, payer)).toMatchObject({ left_days: 0, credits_left: 0 });
    const grants = await gateway.sql.query(
      `SELECT count(*)::int AS n FROM cell_0.credit_grant g JOIN directory.customer c USING (account_id)
       JOIN directory.agent a USING (customer_id) JOIN directory.customer_identity i ON i.customer_id = a.owner_id
       WHERE g.contra = 7 AND i.value LIKE $1`,
      [`%${payer.address.toLowerCase()}`],
    );
    expect(grants.rows).toEqual([{ n: 12 }]);
  });

  it('changes only with upgrade, and then what is unused of it becomes credit', async () => {
    const payer = await createPayer();
    await subscribe(gateway, payer);
    expect(await pay(gateway, payer, '/subscribe?plan=growth&payment_frequency=monthly')).toMatchObject({
      status: 403,
    });
    clock.forwardDays(15);
    await subscribe(gateway, payer, 'growth', 'monthly', '&upgrade=1');
    const after = await status(gateway, payer);
    expect(after).toMatchObject({ plan: 'growth', left_days: 30 });
    // Half of $50 by time, at 2500 credits a dollar; the seconds that the test took are rounded away.
    expect(Number(after['credits_left'])).toBeGreaterThan(1_250_000 + 62_490);
    expect(Number(after['credits_left'])).toBeLessThanOrEqual(1_250_000 + 62_500);
    clock.forwardDays(30);
    expect(Number((await status(gateway, payer))['credits_left'])).toBeGreaterThan(62_490);
  });
});
