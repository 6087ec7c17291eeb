import { Credential } from 'mppx';
import { encodeFunctionData, type Hex } from 'viem';
import { Abis } from 'viem/tempo';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { findAgent } from '../../../src/customers/agent-customers.ts';
import { readBalance } from '../../../src/ledger/balances.ts';
import type { EvmReceipt } from '../../../src/ports/evm-client.ts';
import {
  challengeOf,
  createTempoPayer,
  credentialFor,
  fetchPaid,
  memoFor,
  pathUsdBalance,
  pushCredential,
  pushTransfer,
  sendCredential,
  sendTempoTransaction,
  startTempoGateway,
  TEMPO_TESTNET,
  type TempoGateway,
  type TempoPayer,
  tempoClient,
} from '../../support/tempo.ts';
import { ledgerBreaks, movableClock } from './mobula-gateway.ts';

const clock = movableClock();
const hidden = new Set<string>();
let isBlind = false;
let gateway: TempoGateway;

beforeAll(async () => {
  gateway = await startTempoGateway({
    clock,
    seams: {
      settleWaitMs: 300,
      chain: chain => ({
        ...chain,
        proveSettlement: (payment, hint) =>
          isBlind ? Promise.resolve({ kind: 'unknown', used: false }) : chain.proveSettlement(payment, hint),
      }),
      // A node behind the same URL that has not seen the newest block yet.
      evmClient: client => ({
        ...client,
        receipt: hash =>
          hidden.has(hash) ? Promise.resolve<EvmReceipt | undefined>(undefined) : client.receipt(hash),
      }),
    },
  });
}, 60_000);
afterEach(async () => {
  expect(await ledgerBreaks(gateway)).toEqual([]);
});
afterAll(async () => {
  await gateway?.stop();
});

const SUBSCRIBE = '/subscribe?plan=startup&payment_frequency=monthly';
const USD = 1_000_000n;

const createPayer = () => createTempoPayer(gateway.chain);
const received = () => pathUsdBalance(gateway.chain, gateway.tempoPayTo);

/** Asks for a challenge, pays it in full or another amount, and says what would be presented. */
async function push(payer: TempoPayer, route: string, paid?: bigint) {
  const challenge = await challengeOf(gateway, route);
  const amountBaseUnits = paid ?? BigInt(String(challenge.request['amount']));
  const hash = await pushTransfer(gateway.chain, {
    payer,
    challenge,
    to: gateway.tempoPayTo,
    amountBaseUnits,
  });
  return { challenge, hash, credential: pushCredential(challenge, hash, payer.address) };
}

/** What the books say of the account of the wallet's agent, in nano-USD. */
async function agentCredit({ address }: TempoPayer): Promise<bigint | undefined> {
  const wallet = { environment: 'test', network: TEMPO_TESTNET, address } as const;
  const agent = await findAgent(gateway.sql, wallet);
  return agent && (await readBalance(gateway.sql, agent.cell, agent.accountId))?.postedNanoUsd;
}

async function toldOperator(paymentId: unknown): Promise<unknown[]> {
  const { rows } = await gateway.sql.query(
    `SELECT payload ->> 'reason' AS reason FROM cell_0.outbox
     WHERE type = 'payment.unapplied' AND payload ->> 'paymentId' = $1`,
    [paymentId],
  );
  return rows.map(row => (row as { reason: string }).reason);
}

describe('money that its payer has sent', () => {
  it.each([
    ['/top-up?agent_id=agt_nobody&amount_usd=20', 20_000_000_000n, 'there is no such agent'],
    ['/subscription', 1_000_000n, 'this wallet has no agent: subscribe first'],
    [`${SUBSCRIBE}&user_id=agt_other`, 50_000_000_000n, 'user_id is not the agent of the paying wallet'],
  ])('for what the rules forbid is credit of the wallet’s agent: %s', async (route, credited, reason) => {
    const payer = await createPayer();
    const before = await received();
    const answer = await fetchPaid(gateway, payer, route, 'push');
    expect(answer).toMatchObject({
      status: 409,
      body: { title: 'conflict', status: 409, detail: expect.stringContaining(reason) },
    });
    // The client paid once: it was given no second challenge.
    expect((await received()) - before).toBe(credited / 1_000n);
    expect(await agentCredit(payer)).toBe(credited);
    expect(await toldOperator(answer.body['paymentId'])).toEqual([reason]);
    await fetchPaid(gateway, payer, SUBSCRIBE);
    expect((await fetchPaid(gateway, payer, '/subscription')).body).toMatchObject({
      credits_left: 125_000 + Number((credited * 2_500n) / 1_000_000_000n),
    });
  });

  it('is told the same again, and buys nothing later either', async () => {
    const payer = await createPayer();
    const { credential } = await push(payer, '/subscription');
    const first = await sendCredential(gateway, '/subscription', credential);
    expect(first.status).toBe(409);
    await fetchPaid(gateway, payer, SUBSCRIBE);
    const again = await sendCredential(gateway, '/subscription', credential);
    expect(again).toMatchObject({ status: 409, body: first.body });
  });

  it('buys what it was sent for after its challenge has expired', async () => {
    const payer = await createPayer();
    // The challenge is ten minutes old and ended five minutes ago, by every clock.
    clock.forwardDays(-10 / 1440);
    const { credential, challenge } = await push(payer, SUBSCRIBE);
    clock.forwardDays(10 / 1440);
    expect(Date.parse(challenge.expires ?? '')).toBeLessThan(Date.now());
    const answer = await sendCredential(gateway, SUBSCRIBE, credential);
    expect(answer).toMatchObject({ status: 200, body: { api_key: expect.stringMatching(/^mbl_/) } });
    expect(answer.receipt).not.toBeNull();
  });

  it('that our node does not show yet is asked for again, and never paid twice', async () => {
    const payer = await createPayer();
    const { hash, credential } = await push(payer, SUBSCRIBE);
    hidden.add(hash);
    const early = await sendCredential(gateway, SUBSCRIBE, credential);
    expect(early).toMatchObject({ status: 503, body: { title: 'settlement_pending', status: 503 } });
    expect(early.headers.get('retry-after')).toBe('2');
    expect(early.headers.get('www-authenticate')).toBeNull();
    hidden.delete(hash);
    expect(await sendCredential(gateway, SUBSCRIBE, credential)).toMatchObject({ status: 200 });
  });

  it('is pending while it is not proven: a well-formed problem that says where to look', async () => {
    const payer = await createPayer();
    const { credential } = await push(payer, SUBSCRIBE);
    isBlind = true;
    const answer = await sendCredential(gateway, SUBSCRIBE, credential);
    isBlind = false;
    expect(answer).toMatchObject({
      status: 503,
      body: {
        type: 'about:blank',
        title: 'settlement_pending',
        status: 503,
        statusUrl: `/payments/${String(answer.body['paymentId'])}`,
      },
    });
    const status = await fetch(`${gateway.origin}${String(answer.body['statusUrl'])}`);
    expect(status.status).toBe(200);
    await expect
      .poll(async () => (await sendCredential(gateway, SUBSCRIBE, credential)).status, { timeout: 20_000 })
      .toBe(200);
  });

  it('is taken from a wallet whose payments have failed again and again', async () => {
    const payer = await createPayer();
    await fetchPaid(gateway, payer, SUBSCRIBE);
    await gateway.sql.query(
      `INSERT INTO cell_0.payment (payment_id, account_id, environment, identity, source, facilitator, scheme, network,
         asset, pay_to, payer, amount_base_units, signed, state, reason, from_block, due_at)
       SELECT gen_random_uuid(), account_id, environment, identity || n, source, facilitator, scheme, network, asset,
         pay_to, payer, amount_base_units, signed, 'failed', 'failed_on_chain', from_block, now()
       FROM cell_0.payment, generate_series(1, 3) n WHERE payer = $1`,
      [payer.address.toLowerCase()],
    );
    expect(await fetchPaid(gateway, payer, SUBSCRIBE)).toMatchObject({ status: 402 });
    expect(await fetchPaid(gateway, payer, SUBSCRIBE, 'push')).toMatchObject({ status: 200 });
  });

  it.each([
    ['less', 49n * USD, 49_000_000_000n],
    ['more', 51n * USD, 51_000_000_000n],
  ])('of %s than was asked is credit and buys no plan', async (_, paid, credited) => {
    const payer = await createPayer();
    const { credential } = await push(payer, SUBSCRIBE, paid);
    expect(await sendCredential(gateway, SUBSCRIBE, credential)).toMatchObject({
      status: 409,
      body: { detail: expect.stringContaining('another amount was paid than was asked') },
    });
    expect(await agentCredit(payer)).toBe(credited);
    expect(await fetchPaid(gateway, payer, '/subscription')).toMatchObject({ status: 404 });
  });

  it('for a price that has changed since is no payment of the new one, and no refusal either', async () => {
    const payer = await createPayer();
    const { credential } = await push(payer, '/subscription');
    const demand = { amountBaseUnits: 2_000n, description: '', terms: '/agent/mpp/subscription' };
    expect(await gateway.services.mpp?.protocol.readPayment(credential, demand)).toMatchObject({
      payment: { amountBaseUnits: 1_000n },
      unfit: 'another amount was paid than was asked',
    });
  });

  it('under another source than its own is credit of who paid, and shows nobody’s keys', async () => {
    const [payer, victim] = [await createPayer(), await createPayer()];
    const theirs = (await fetchPaid(gateway, victim, SUBSCRIBE)).body;
    await fetchPaid(gateway, payer, SUBSCRIBE);
    const { challenge, hash } = await push(payer, '/subscription');
    const credential = pushCredential(challenge, hash, victim.address);
    const answer = await sendCredential(gateway, '/subscription', credential);
    expect(answer).toMatchObject({ status: 409 });
    expect(JSON.stringify(answer.body)).not.toContain(String(theirs['api_key']));
  });

  it('moved by an allowance is credit of whose it was, and shows the mover no keys', async () => {
    const [owner, mover] = [await createPayer(), await createPayer()];
    const { body } = await fetchPaid(gateway, owner, SUBSCRIBE);
    const approve = encodeFunctionData({
      abi: Abis.tip20,
      functionName: 'approve',
      args: [mover.address, USD],
    });
    await sendTempoTransaction(gateway.chain, owner, approve);
    const challenge = await challengeOf(gateway, '/subscription');
    const data = encodeFunctionData({
      abi: Abis.tip20,
      functionName: 'transferFromWithMemo',
      args: [owner.address, gateway.tempoPayTo, 1_000n, memoFor(challenge)],
    });
    const { hash, status } = await sendTempoTransaction(gateway.chain, mover, data);
    expect(status).toBe('success');
    const answer = await sendCredential(
      gateway,
      '/subscription',
      pushCredential(challenge, hash, owner.address),
    );
    expect(answer).toMatchObject({ status: 409 });
    expect(JSON.stringify(answer.body)).not.toContain(String(body['api_key']));
  });

  it('by a transaction that we were to send buys what it is for, though it could not be sent again', async () => {
    const payer = await createTempoPayer(gateway.chain, 60n);
    const credential = await credentialFor(gateway, payer, SUBSCRIBE);
    const { payload } = Credential.deserialize<{ signature: Hex }>(credential);
    const client = tempoClient(gateway.chain);
    await client.sendRawTransactionSync({ serializedTransaction: payload.signature });
    expect(await sendCredential(gateway, SUBSCRIBE, credential)).toMatchObject({ status: 200 });
  });
});

describe('a transaction that has moved no money of the challenge', () => {
  it('is refused with a new challenge: a transfer for another caller’s', async () => {
    const [victim, thief] = [await createPayer(), await createPayer()];
    await fetchPaid(gateway, victim, SUBSCRIBE);
    const { hash } = await push(victim, '/subscription');
    const challenge = await challengeOf(gateway, '/subscription');
    for (const source of [victim.address, thief.address]) {
      const answer = await sendCredential(gateway, '/subscription', pushCredential(challenge, hash, source));
      expect(answer).toMatchObject({
        status: 402,
        body: { type: 'https://paymentauth.org/problems/verification-failed' },
      });
    }
  });

  it('is refused when it has failed, when it paid somebody else, and when it is for another route', async () => {
    const payer = await createPayer();
    const challenge = await challengeOf(gateway, '/subscription');
    const elsewhere = await pushTransfer(gateway.chain, {
      payer,
      challenge,
      to: payer.address,
      amountBaseUnits: 1_000n,
    });
    const args = [gateway.tempoPayTo, 10_000n * USD, memoFor(challenge)] as const;
    const tooMuch = encodeFunctionData({ abi: Abis.tip20, functionName: 'transferWithMemo', args });
    const { hash: reverted, status } = await sendTempoTransaction(gateway.chain, payer, tooMuch, {
      gas: 500_000n,
    });
    expect(status).toBe('reverted');
    for (const hash of [elsewhere, reverted]) {
      const credential = pushCredential(challenge, hash, payer.address);
      expect(await sendCredential(gateway, '/subscription', credential)).toMatchObject({ status: 402 });
    }
    await fetchPaid(gateway, payer, SUBSCRIBE);
    const { credential } = await push(payer, '/subscription');
    expect(await sendCredential(gateway, '/api-keys/create', credential)).toMatchObject({ status: 402 });
    expect(await sendCredential(gateway, '/subscription', credential)).toMatchObject({ status: 200 });
  });
});
