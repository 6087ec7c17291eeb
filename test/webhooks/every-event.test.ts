import { encodeFunctionData, erc20Abi } from 'viem';
import { generatePrivateKey, type PrivateKeyAccount, privateKeyToAccount } from 'viem/accounts';
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { findEvmNetwork } from '../../src/chains/evm-networks.ts';
import { DEFAULT_CELL } from '../../src/db/queryable.ts';
import { unavailable } from '../../src/lib/errors.ts';
import { newId } from '../../src/lib/ids.ts';
import { connectAnvil } from '../../src/local/anvil.ts';
import { type LocalEvmChain, startLocalEvmChain } from '../../src/local/evm-chain.ts';
import type { EvmClient } from '../../src/ports/evm-client.ts';
import { EVENT_TYPES, type EventType } from '../../src/webhooks/events.ts';
import { call, createCaller, send } from '../dialects/aitopup/aitopup-gateway.ts';
import {
  type MobulaGateway,
  movableClock,
  pay,
  sign,
  status,
  subscribe,
} from '../dialects/mobula/mobula-gateway.ts';
import { startGateway } from '../support/gateway.ts';
import { BASE_USDC, paymentHeader } from '../support/payment.ts';
import { type Receiver, startReceiver } from '../support/receiver.ts';
import { startVerifiers } from '../support/webhook-verifiers.ts';

/** Every kind of event, made to happen and received: by the operator, and by the owner where owners may listen. */

const NANO_USD = 1_000_000_000n;
const SECOND_MS = 1_000;

const clock = movableClock();
const verifiers = startVerifiers(clock.nowMs);
const faults = {
  sendDropped: false,
  nodeSilent: false,
  beforeSend: undefined as (() => Promise<unknown>) | undefined,
};

let chain: LocalEvmChain;
let node: ReturnType<typeof connectAnvil>;
let gateway: MobulaGateway;
let operator: Receiver;
let owner: Receiver;
/** By the environment of the event; what signs for the owner is of staging. */
const secrets = { live: '', staging: '', owner: '' };
let staging: string;
let holder: { customerId: string; accountId: bigint };

const faulty = (client: EvmClient): EvmClient => ({
  ...client,
  receipt: hash => (faults.nodeSilent ? Promise.reject(unavailable('the Base node')) : client.receipt(hash)),
  async sendRawTransaction(raw) {
    if (faults.sendDropped) throw unavailable('the Base node');
    await faults.beforeSend?.();
    await client.sendRawTransaction(raw);
  },
});

beforeAll(async () => {
  const network = findEvmNetwork('eip155:8453');
  if (!network) throw new Error('Base is not in the table of networks');
  // Its history is rewritten, so it is nobody else's.
  chain = await startLocalEvmChain({ chainId: network.chainId, token: network.usdc, log: () => undefined });
  node = connectAnvil(chain.rpcUrl);
  const started = await startGateway({
    clock,
    settings: { BASE_RPC_URL: chain.rpcUrl, WEBHOOK_RETRY_SECONDS: '0,1,1,1,1' },
    seams: {
      allowLoopbackWebhooks: true,
      evmClient: faulty,
      settleWaitMs: 1_000,
      reconcileEveryMs: 100,
      finalityCheckMs: 100,
      reorgGraceMs: 300,
      // What is sent again must come from the watcher of finality.
      maintainSenderEveryMs: 3_600_000,
    },
  });
  gateway = { ...started, clock };
  const { address } = privateKeyToAccount(gateway.config.evmPrivateKeys[0] as `0x${string}`);
  await chain.fundGas(address, 10n ** 20n);
  [operator, owner] = [await startReceiver(), await startReceiver()];
  secrets.live = await register('live');
  secrets.staging = await register('test');
  staging = (await createCaller(gateway, { cents: 20_000n })).apiKey;
  const registered = await call(gateway.app, '/webhooks/register', {
    key: staging,
    body: { url: owner.url },
  });
  secrets.owner = String(registered.data['secret']);
  const { customerId } = await gateway.services.createFundedKey({
    dialect: 'dria',
    environment: 'live',
    balanceNanoUsd: 10n * NANO_USD,
  });
  const { rows } = await gateway.sql.query<{ account_id: string }>(
    'SELECT account_id FROM directory.customer WHERE customer_id = $1',
    [customerId],
  );
  holder = { customerId, accountId: BigInt(rows[0]?.account_id ?? 0) };
});

afterAll(async () => {
  verifiers.stop();
  await gateway?.stop();
  await operator?.close();
  await owner?.close();
  await chain?.stop();
});

/** A webhook of the operator for everything. @returns its secret */
async function register(environment: 'live' | 'test'): Promise<string> {
  const answer = await gateway.app.inject({
    method: 'POST',
    url: '/admin/v1/webhooks',
    headers: { authorization: `Bearer ${gateway.config.adminApiKey}` },
    payload: { url: operator.url, environment },
  });
  expect(answer.statusCode).toBe(200);
  expect(answer.json()).toMatchObject({ events: EVENT_TYPES });
  return answer.json<{ secret: string }>().secret;
}

async function newPayer(usd = 10_000n): Promise<PrivateKeyAccount> {
  const payer = privateKeyToAccount(generatePrivateKey());
  await chain.mint(payer.address, usd * 1_000_000n);
  return payer;
}

/** Pays ten dollars as clients of Venice do. @returns what the event says of it */
async function topUp(payer: PrivateKeyAccount, expectedStatus: number): Promise<Expected> {
  const payment = await sign(gateway, payer, 10);
  const answer = await gateway.app.inject({
    method: 'POST',
    url: '/api/v1/x402/top-up',
    headers: { 'payment-signature': paymentHeader(payment) },
  });
  expect(answer.statusCode).toBe(expectedStatus);
  const { rows } = await gateway.sql.query<{ id: string }>(
    'SELECT payment_id AS id FROM cell_0.payment WHERE payer = $1',
    [payer.address.toLowerCase()],
  );
  return { data: { paymentId: rows[0]?.id, network: 'eip155:8453' } };
}

/** The payer's money leaves between the rehearsal of a payment and its transaction. */
async function emptyWallet(payer: PrivateKeyAccount): Promise<void> {
  const args = ['0x000000000000000000000000000000000000dEaD', 10_000_000n] as const;
  await chain.fundGas(payer.address, 10n ** 18n);
  await node.impersonateAccount({ address: payer.address });
  const hash = await node.sendTransaction({
    account: payer.address,
    chain: null,
    to: BASE_USDC,
    data: encodeFunctionData({ abi: erc20Abi, functionName: 'transfer', args }),
  });
  await node.waitForTransactionReceipt({ hash });
}

async function sendTopup(recipient: string, state: string): Promise<Expected> {
  const body = { recipient_email: recipient, amount_cents: 1_000, metadata: { order: recipient } };
  const sent = await send(gateway.app, staging, body);
  const data = { platform: 'claude', amount_cents: 1_000, recipient_email: recipient };
  return { ...staged(state), transaction_id: sent.transaction_id, data };
}

const staged = (state: string) => ({ environment: 'staging', state, toOwner: true });

interface Expected {
  environment?: string;
  /** Its `status`. */
  state?: string;
  transaction_id?: string | null;
  data: Record<string, unknown>;
  /** Whether the owner of the wallet is told, too. */
  toOwner?: boolean;
}

/** What makes each of them happen; it says what must be told. */
const TRIGGERS: Record<EventType, () => Promise<Expected>> = {
  async 'payment.pending'() {
    faults.nodeSilent = true;
    const expected = await topUp(await newPayer(), 504);
    faults.nodeSilent = false;
    return { data: { ...expected.data, source: 'venice' } };
  },
  async 'payment.credited'() {
    const { data } = await topUp(await newPayer(), 200);
    return { data: { ...data, amountNanoUsd: '10000000000', transaction: expect.stringMatching(/^0x/) } };
  },
  async 'payment.failed'() {
    const payer = await newPayer(10n);
    faults.beforeSend = () => emptyWallet(payer);
    const { data } = await topUp(payer, 402);
    faults.beforeSend = undefined;
    return { data: { ...data, reason: 'reverted' } };
  },
  async 'payment.reversed'() {
    const { data } = await topUp(await newPayer(), 200);
    faults.sendDropped = true;
    // The newest block is made anew, and what was in it is forgotten.
    await node.request({ method: 'anvil_reorg' as never, params: [1, []] as never });
    return { data: { ...data, amountNanoUsd: '10000000000', writtenOffNanoUsd: '0' } };
  },
  async 'payment.unapplied'() {
    const payer = await newPayer();
    await subscribe(gateway, payer);
    await gateway.sql.query(
      `CREATE OR REPLACE FUNCTION cell_0.apply_purpose_agent_key(p cell_0.payment, p_paid bigint, p_now timestamptz)
       RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'not any more'; END $$`,
    );
    expect(await pay(gateway, payer, '/api-keys/create')).toMatchObject({ status: 409 });
    return { data: { reason: 'not any more' } };
  },
  async 'topup.delivered'() {
    const expected = await sendTopup('a@example.org', 'delivered');
    // Only the owner may read the code.
    return { ...expected, data: { ...expected.data, new_balance_cents: 1_000 } };
  },
  async 'topup.failed'() {
    const expected = await sendTopup('a+fail@example.org', 'failed');
    return {
      ...expected,
      data: { ...expected.data, failure_reason: 'provider_error', refunded_cents: 1_000 },
    };
  },
  async 'topup.cancelled'() {
    const expected = await sendTopup('a+pending@example.org', 'cancelled');
    const body = { transaction_id: expected.transaction_id };
    expect(await call(gateway.app, '/topup/cancel', { key: staging, body })).toMatchObject({ code: 3001 });
    return { ...expected, data: { ...expected.data, refunded_cents: 1_000 } };
  },
  async 'balance.low'() {
    const { data: wallet } = await call(gateway.app, '/topup/balance', { key: staging });
    const cents = Number(wallet['balance_cents']);
    const body = { threshold_cents: cents };
    await call(gateway.app, '/topup/threshold', { method: 'PUT', key: staging, body });
    const { transaction_id: id } = await send(gateway.app, staging);
    const data = { balance_cents: cents - 1_000, threshold_cents: cents, currency: 'USD' };
    return { ...staged('ok'), transaction_id: id, data };
  },
  async 'hold.expired'() {
    const id = newId();
    const account = { accountId: holder.accountId, cell: DEFAULT_CELL };
    const held = await gateway.services.spending.hold(account, { id, amountNanoUsd: 7n, lifetimeMs: 1 });
    expect(held.status).toBe('applied');
    return { data: { holdId: id, amountNanoUsd: '7', expiredAt: expect.any(String) } };
  },
  async 'subscription.started'() {
    await subscribe(gateway, await newPayer());
    return { data: { plan: 'startup', frequency: 'monthly', unusedNanoUsd: '0' } };
  },
  async 'subscription.renewed'() {
    const payer = await newPayer();
    await subscribe(gateway, payer);
    await subscribe(gateway, payer);
    return { data: { plan: 'startup', frequency: 'monthly' } };
  },
  async 'subscription.changed'() {
    const payer = await newPayer();
    await subscribe(gateway, payer);
    await subscribe(gateway, payer, 'growth', 'monthly', '&upgrade=true');
    return { data: { plan: 'growth', unusedNanoUsd: expect.stringMatching(/^[1-9]\d*$/) } };
  },
  async 'subscription.credited'() {
    await subscribe(gateway, await newPayer(), 'startup', 'yearly');
    clock.forwardDays(30);
    return { data: { plan: 'startup', creditPeriod: 2, until: expect.any(String) } };
  },
  async 'subscription.ended'() {
    const payer = await newPayer();
    await subscribe(gateway, payer, 'enterprise', 'monthly');
    clock.forwardDays(30);
    expect(await status(gateway, payer)).toMatchObject({ plan_active: false });
    return { data: { plan: 'enterprise', endedAt: expect.any(String) } };
  },
};

type Body = Record<string, unknown> & { id: string; type: string };

const bodiesAt = (receiver: Receiver, from: number) =>
  receiver.arrivals.slice(from).map(({ body }) => JSON.parse(body) as Body);

/** Waits for the event at a receiver and lets both libraries verify what brought it. */
async function expectTold(
  receiver: Receiver,
  from: number,
  secret: string,
  event: { asymmetricMatch(body: unknown): boolean },
): Promise<Body> {
  await vi.waitFor(() => expect(bodiesAt(receiver, from)).toContainEqual(event), {
    timeout: 25 * SECOND_MS,
    interval: 50,
  });
  const at = bodiesAt(receiver, from).findIndex(each => event.asymmetricMatch(each));
  const arrival = receiver.arrivals[from + at];
  if (!arrival) throw new Error('nothing arrived');
  const body = JSON.parse(arrival.body) as Body;
  expect(await verifiers.verify(arrival, secret)).toEqual({ stripe: body.id, standard: body.id });
  return body;
}

/** A reorganisation leaves a nonce open that nothing else may wait for, so it comes last. */
const IN_ORDER = EVENT_TYPES.toSorted(
  (a, b) => Number(a === 'payment.reversed') - Number(b === 'payment.reversed'),
);

it.each(IN_ORDER)('%s is told, signed, when it happens', async type => {
  const [fromOperator, fromOwner] = [operator.arrivals.length, owner.arrivals.length];
  const expected = await TRIGGERS[type]();
  const { environment = 'live', state = 'ok', transaction_id = null, data, toOwner } = expected;
  const event: { asymmetricMatch(body: unknown): boolean } = expect.objectContaining({
    id: expect.stringMatching(/^evt_[0-9a-f]{32}$/),
    type,
    event: type,
    environment,
    status: state,
    transaction_id,
    timestamp: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/),
    data: expect.objectContaining(data),
  });
  const secret = environment === 'live' ? secrets.live : secrets.staging;
  const told = await expectTold(operator, fromOperator, secret, event);
  if (!toOwner) return;
  const toldToOwner = await expectTold(owner, fromOwner, secrets.owner, event);
  expect(toldToOwner.id).toBe(told.id);
});
