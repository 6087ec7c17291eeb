import { Challenge, Credential, Receipt } from 'mppx';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { startGateway } from '../../support/gateway.ts';
import { expectPublishedShape } from '../../support/mobula-schemas.ts';
import { readAnswers, runMppx } from '../../support/mppx-cli.ts';
import {
  challengeOf,
  createTempoPayer,
  credentialFor,
  fetchPaid,
  PATH_USD,
  pathUsdBalance,
  pushCredential,
  pushTransfer,
  sendCredential,
  startTempoGateway,
  TEMPO_TESTNET,
  type TempoGateway,
  type TempoPayer,
} from '../../support/tempo.ts';
import { ledgerBreaks } from './mobula-gateway.ts';

let gateway: TempoGateway;
let origin: string;

beforeAll(async () => {
  gateway = await startTempoGateway();
  ({ origin } = gateway);
}, 60_000);
afterEach(async () => {
  expect(await ledgerBreaks(gateway)).toEqual([]);
});
afterAll(async () => {
  await gateway?.stop();
});

const createPayer = (usd?: bigint) => createTempoPayer(gateway.chain, usd);
const balanceOf = (address: `0x${string}`) => pathUsdBalance(gateway.chain, address);
const pay = (payer: TempoPayer, route: string, mode?: 'pull' | 'push') =>
  fetchPaid(gateway, payer, route, mode);
const credentialOf = (payer: TempoPayer, route: string) => credentialFor(gateway, payer, route);
/** The credential of a payment that the payer has sent itself. */
async function pushed(payer: TempoPayer, route: string): Promise<string> {
  const challenge = await challengeOf(gateway, route);
  const amountBaseUnits = BigInt(String(challenge.request['amount']));
  const transfer = { payer, challenge, to: gateway.tempoPayTo, amountBaseUnits };
  return pushCredential(challenge, await pushTransfer(gateway.chain, transfer), payer.address);
}
const send = (route: string, credential: string) => sendCredential(gateway, route, credential);

const SUBSCRIBE = '/subscribe?plan=startup&payment_frequency=monthly';

describe('the challenge', () => {
  it('names price, token, receiver and chain, and always an end', async () => {
    const response = await fetch(`${origin}/agent/mpp/subscription`);
    expect(response.status).toBe(402);
    expect(response.headers.get('cache-control')).toBe('no-store');
    expect(response.headers.get('content-type')).toContain('application/problem+json');
    const challenge = Challenge.fromResponse(response);
    expect(challenge).toMatchObject({
      realm: '127.0.0.1',
      method: 'tempo',
      intent: 'charge',
      request: {
        amount: '1000',
        currency: PATH_USD,
        recipient: gateway.tempoPayTo.toLowerCase(),
        methodDetails: { chainId: 42_431 },
      },
    });
    expect(Date.parse(challenge.expires ?? '')).toBeGreaterThan(Date.now());
    expect(await response.json()).toMatchObject({
      type: 'https://paymentauth.org/problems/payment-required',
      status: 402,
      challengeId: challenge.id,
    });
  });

  it.each([
    ['/top-up?agent_id=a&amount_usd=5', 403],
    ['/subscribe?plan=free&payment_frequency=monthly', 400],
  ])('is not made for %s', async (route, status) => {
    const response = await fetch(`${origin}/agent/mpp${route}`);
    expect(response.status).toBe(status);
    expect(response.headers.get('content-type')).toContain('application/problem+json');
  });
});

describe('mppx 0.11.0', () => {
  it('buys all five operations in pull mode', async () => {
    const payer = await createPayer();
    const bought = await pay(payer, SUBSCRIBE);
    expect(bought).toMatchObject({ status: 200, body: { api_key: expect.stringMatching(/^mbl_test_/) } });
    expect(Receipt.deserialize(bought.receipt ?? '')).toMatchObject({ method: 'tempo', status: 'success' });
    const { user_id: agentId, api_key: first } = bought.body;
    const status = await pay(payer, '/subscription');
    expect(status.body).toMatchObject({ user_id: agentId, api_keys: [first], credits_left: 125_000 });
    expect(await pay(payer, `/top-up?agent_id=${String(agentId)}&amount_usd=20`)).toMatchObject({
      status: 200,
      body: { credits_added: 50_000, new_credits_limit: 175_000 },
    });
    const created = await pay(payer, '/api-keys/create');
    expect(created).toMatchObject({ status: 200, body: { user_id: agentId } });
    const revoked = await pay(payer, `/api-keys/revoke?api_key=${String(first)}`);
    expect(revoked).toMatchObject({ status: 200, body: { deleted: true } });
    expect((await pay(payer, '/subscription')).body).toMatchObject({
      api_keys: [created.body['api_key']],
    });
  });

  it('tops up in push mode with exactly one transfer', async () => {
    const payer = await createPayer();
    const { body } = await pay(payer, SUBSCRIBE);
    const before = await balanceOf(gateway.tempoPayTo);
    const answer = await pay(payer, `/top-up?agent_id=${String(body['user_id'])}&amount_usd=20`, 'push');
    expect(answer).toMatchObject({ status: 200, body: { credits_added: 50_000 } });
    expect(answer.receipt).not.toBeNull();
    expect(await balanceOf(gateway.tempoPayTo)).toBe(before + 20_000_000n);
  });

  it('is told in another status than 402 what the rules forbid, and has paid nothing', async () => {
    const payer = await createPayer();
    const before = await balanceOf(payer.address);
    expect(await pay(payer, '/subscription')).toMatchObject({
      status: 404,
      body: { title: 'not_found', status: 404 },
      receipt: null,
    });
    expect(await balanceOf(payer.address)).toBe(before);
  });

  it('pays for all five from its command line', async () => {
    const payer = await createPayer();
    const first = await payByCli(payer, SUBSCRIBE);
    expect(first['api_key']).toMatch(/^mbl_test_/);
    const agentId = String(first['user_id']);
    const [topup, second, revoked] = await Promise.all([
      payByCli(payer, `/top-up?agent_id=${agentId}&amount_usd=20`),
      payByCli(payer, '/api-keys/create'),
      payByCli(payer, `/api-keys/revoke?api_key=${String(first['api_key'])}`),
    ]);
    expect(topup).toEqual({ credits_added: 50_000, new_credits_limit: 175_000 });
    expect(second['user_id']).toBe(agentId);
    expect(revoked).toEqual({ deleted: true });
    expect(await payByCli(payer, '/subscription')).toMatchObject({
      user_id: agentId,
      api_keys: [second['api_key']],
      plan: 'startup',
      left_days: 30,
      credits_left: 175_000,
      plan_active: true,
    });
  });
});

/** A call by the published command line, which shows what it was asked and what it got. @returns the body */
async function payByCli(payer: TempoPayer, route: string): Promise<Record<string, unknown>> {
  const env = { MPPX_PRIVATE_KEY: payer.key, MPPX_RPC_URL: gateway.chain.rpcUrl };
  const { code, stdout } = await runMppx([`${origin}/agent/mpp${route}`, '-i', '-v'], env);
  const [asked, paid] = readAnswers(stdout);
  expect([route, code, asked?.status, paid?.status]).toEqual([route, 0, 402, 200]);
  expect(asked?.headers.get('www-authenticate')).toMatch(/^Payment id="/);
  expect(asked?.headers.get('payment-receipt')).toBeNull();
  expect(paid?.headers.get('cache-control')).toBe('private');
  expect(Receipt.deserialize(paid?.headers.get('payment-receipt') ?? '')).toMatchObject({
    method: 'tempo',
    status: 'success',
    reference: expect.stringMatching(/^0x[0-9a-f]{64}$/),
  });
  const body = JSON.parse(paid?.body ?? '') as Record<string, unknown>;
  expectPublishedShape('mpp', route, { status: 200, body });
  return body;
}

async function storedPaymentsOf({ address }: TempoPayer): Promise<number | undefined> {
  const { rows } = await gateway.sql.query<{ n: number }>(
    'SELECT count(*)::int AS n FROM cell_0.payment WHERE payer = $1',
    [address.toLowerCase()],
  );
  return rows[0]?.n;
}

describe('a credential', () => {
  it('gives the same answer again, and is refused for anything else', async () => {
    const payer = await createPayer();
    const credential = await credentialOf(payer, SUBSCRIBE);
    const first = await send(SUBSCRIBE, credential);
    expect(first.status).toBe(200);
    expect((await send(SUBSCRIBE, credential)).body).toEqual(first.body);
    const status = await credentialOf(payer, '/subscription');
    for (const route of ['/api-keys/create', SUBSCRIBE, '/subscription?x=1']) {
      const answer = await send(route, status);
      if (route.startsWith('/subscription')) expect(answer.status).toBe(200);
      else {
        expect(answer).toMatchObject({
          status: 402,
          body: { type: 'https://paymentauth.org/problems/invalid-challenge' },
        });
      }
    }
  });

  it('of one plan buys no other one of the same price', async () => {
    const payer = await createPayer();
    const yearly = '/subscribe?plan=startup&payment_frequency=yearly';
    const growth = '/subscribe?plan=growth&payment_frequency=monthly';
    const [ofYearly, ofGrowth] = [await credentialOf(payer, yearly), await credentialOf(payer, growth)];
    for (const [route, credential] of [
      [growth, ofYearly],
      [yearly, ofGrowth],
    ] as const) {
      expect(await send(route, credential)).toMatchObject({
        status: 402,
        body: { type: 'https://paymentauth.org/problems/invalid-challenge' },
        receipt: null,
      });
    }
    expect(await storedPaymentsOf(payer)).toBe(0);
    expect(await balanceOf(payer.address)).toBe(1_000_000_000n);
    expect(await send(growth, ofGrowth)).toMatchObject({ status: 200 });
    expect(await send(yearly, ofGrowth)).toMatchObject({ status: 402 });
    expect((await pay(payer, '/subscription')).body).toMatchObject({
      plan: 'growth',
      payment_frequency: 'monthly',
      left_days: 30,
    });
  });

  it('of a foreign source shows the payer’s own agent and no other', async () => {
    const [victim, thief] = [await createPayer(), await createPayer()];
    const theirs = (await pay(victim, SUBSCRIBE)).body;
    const own = (await pay(thief, SUBSCRIBE)).body;
    const honest = Credential.deserialize(await credentialOf(thief, '/subscription'));
    const forged = Credential.serialize({
      ...honest,
      source: `did:pkh:${TEMPO_TESTNET}:${victim.address}`,
    });
    const answer = await send('/subscription', forged);
    expect(answer).toMatchObject({
      status: 200,
      body: { user_id: own['user_id'], api_keys: [own['api_key']] },
    });
    expect(JSON.stringify(answer.body)).not.toContain(String(theirs['api_key']));
  });

  it.each(['pull', 'push'] as const)('is taken once by two replicas at once: %s', async mode => {
    const replica = await startGateway({ replicaOf: gateway });
    const payer = await createPayer();
    const before = await balanceOf(gateway.tempoPayTo);
    const credential = await (mode === 'pull' ? credentialOf(payer, SUBSCRIBE) : pushed(payer, SUBSCRIBE));
    const headers = { authorization: credential };
    const url = `/agent/mpp${SUBSCRIBE}`;
    const answers = await Promise.all(
      [gateway, replica, gateway, replica].map(each => each.app.inject({ url, headers })),
    );
    expect(answers.every(({ statusCode }) => [200, 503].includes(statusCode))).toBe(true);
    const settled = await send(SUBSCRIBE, credential);
    expect(settled.status).toBe(200);
    expect((await send(SUBSCRIBE, credential)).body).toEqual(settled.body);
    expect((await balanceOf(gateway.tempoPayTo)) - before).toBe(50_000_000n);
    expect((await pay(payer, '/subscription')).body).toMatchObject({
      api_keys: [settled.body['api_key']],
      left_days: 30,
    });
    await replica.stop();
  });

  it('that is malformed, not ours, without an end or unpaid is refused with a new challenge', async () => {
    const payer = await createPayer();
    const poor = await createPayer(0n);
    const honest = Credential.deserialize(await credentialOf(payer, SUBSCRIBE));
    const { expires: _, ...endless } = honest.challenge;
    const altered = { ...honest.challenge, request: { ...honest.challenge.request, amount: '1' } };
    const bad = [
      'Payment e30',
      'Payment !!!',
      Credential.serialize({ ...honest, challenge: endless }),
      Credential.serialize({ ...honest, challenge: altered }),
      Credential.serialize({ ...honest, payload: { type: 'transaction', signature: '0x7600' } }),
      Credential.serialize({ ...honest, payload: { type: 'proof', signature: '0x00' } }),
      await credentialOf(poor, SUBSCRIBE).catch(() => 'Payment e30'),
    ];
    for (const credential of bad) {
      const response = await fetch(`${origin}/agent/mpp${SUBSCRIBE}`, {
        headers: { authorization: credential },
      });
      expect(response.status, credential).toBe(402);
      expect(Challenge.fromResponse(response).id).not.toBe(honest.challenge.id);
    }
    expect(await balanceOf(payer.address)).toBe(1_000_000_000n);
  });
});
