import { declareEip2612GasSponsoringExtension } from '@x402/extensions';
import { encodeFunctionData, type Hex, multicall3Abi, pad } from 'viem';
import { generatePrivateKey, type PrivateKeyAccount, privateKeyToAccount } from 'viem/accounts';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { compileContract } from '../../scripts/compile-contracts.ts';
import { decodeBase64Json } from '../../src/lib/base64.ts';
import { settleCallData } from '../../src/lib/permit2.ts';
import type { Seams } from '../../src/services/seams.ts';
import { localChain, sendAsPayer, usdcTransfersTo } from '../support/chain.ts';
import { startFacilitator } from '../support/facilitator.ts';
import { startGateway, type TestGateway } from '../support/gateway.ts';
import { BASE_USDC, createPayer } from '../support/payment.ts';
import {
  approvePermit2,
  EXACT_PROXY,
  invalidateNonce,
  passSafeBlock,
  permitHeader,
  type SignedPermit,
  signPermit,
  withAllowance,
} from '../support/permit2.ts';

const MULTICALL3 = '0xcA11bde05977b3631167028862bE2a173976CA11';
const TEN = 10_000_000n;

const faults = { settleLost: false, beforeSend: undefined as (() => Promise<unknown>) | undefined };
let gateway: TestGateway;
let replica: TestGateway;

const seams: Seams = {
  evmClient: client => ({
    ...client,
    async sendRawTransaction(raw) {
      await faults.beforeSend?.();
      await client.sendRawTransaction(raw);
    },
  }),
  facilitator: facilitator => ({
    ...facilitator,
    settle: (paymentId, payment) =>
      faults.settleLost
        ? Promise.resolve({ kind: 'unknown', message: 'nothing was sent, and nobody knows' })
        : facilitator.settle(paymentId, payment),
  }),
  settleWaitMs: 800,
  reconcileEveryMs: 100,
};

beforeAll(async () => {
  gateway = await startGateway({ settings: { PERMIT2: 'sponsored' }, seams });
  replica = await startGateway({ replicaOf: gateway, seams });
});

beforeEach(() => {
  Object.assign(faults, { settleLost: false, beforeSend: undefined });
});

afterAll(async () => {
  await replica.stop();
  await gateway.stop();
});

async function payerWithApproval(): Promise<PrivateKeyAccount> {
  const payer = await createPayer();
  await approvePermit2(payer);
  return payer;
}

function pay(permit: SignedPermit, at = gateway) {
  return at.app.inject({
    method: 'POST',
    url: '/api/v1/x402/top-up',
    headers: { 'payment-signature': permitHeader(permit) },
  });
}

/** What the proxy is called with, by whomever. */
function callOf({ authorization, signature }: SignedPermit): Hex {
  const { from, permitted, nonce, deadline, witness } = authorization;
  const permit = {
    from: from.toLowerCase(),
    to: witness.to.toLowerCase(),
    token: permitted.token.toLowerCase(),
    amount: permitted.amount,
    nonce,
    deadline,
    validAfter: witness.validAfter,
  };
  return settleCallData(permit, signature, undefined);
}

async function received(payer: { address: string }): Promise<bigint[]> {
  const transfers = await usdcTransfersTo(gateway.payTo);
  return transfers.filter(({ from }) => from === payer.address.toLowerCase()).map(({ amount }) => amount);
}

async function stateOf({ authorization }: SignedPermit) {
  const { from, nonce } = authorization;
  const { rows } = await gateway.sql.query(
    'SELECT state, reason, credited_nano_usd AS credited FROM cell_0.payment WHERE identity = $1',
    [`permit2:8453:${from.toLowerCase()}:${nonce}`],
  );
  return rows[0];
}

/** The reconciler's own pauses grow; a test does not wait for them. */
async function lookNow() {
  await gateway.sql.query(
    "UPDATE cell_0.payment SET due_at = now() WHERE state IN ('settling', 'pending', 'failed')",
  );
}

describe('the offer', () => {
  it('names Permit2 last, after everything that a client would rather pay, and the sponsoring', async () => {
    const answer = await gateway.app.inject({ method: 'POST', url: '/api/v1/x402/top-up' });
    const offer = answer.json();
    expect(decodeBase64Json(String(answer.headers['payment-required']))).toEqual(offer);
    const [first, last] = [offer.accepts.at(0), offer.accepts.at(-1)];
    expect(first.extra).toEqual({ name: 'USD Coin', version: '2' });
    expect(last).toEqual({ ...first, extra: { ...first.extra, assetTransferMethod: 'permit2' } });

    const official = declareEip2612GasSponsoringExtension()['eip2612GasSponsoring'];
    const ours = offer.extensions.eip2612GasSponsoring;
    expect(ours.info).toEqual({ description: expect.any(String), version: official?.info['version'] });
    expect(withoutDescriptions(ours.schema)).toEqual(withoutDescriptions(official?.schema));
  });

  it('does not name it unless it is switched on, and a permit is refused then', async () => {
    const plain = await startGateway();
    const offer = await plain.app.inject({ method: 'POST', url: '/api/v1/x402/top-up' });
    expect(offer.json()).not.toHaveProperty('extensions');
    expect(offer.body).not.toContain('permit2');
    const answer = await pay(await signPermit(await createPayer(0n), plain.payTo, TEN), plain);
    expect([answer.statusCode, answer.json().error]).toEqual([400, 'INVALID_PAYMENT']);
    await plain.stop();
  });
});

describe('a wallet that has allowed Permit2', () => {
  it('pays, and gets the stored answer when it presents the payment again', async () => {
    const payer = await payerWithApproval();
    const permit = await signPermit(payer, gateway.payTo, TEN);
    const answer = await pay(permit);
    expect(answer.statusCode).toBe(200);
    expect(answer.json().data).toMatchObject({
      walletAddress: payer.address.toLowerCase(),
      amountCredited: 10,
      newBalance: 10,
    });
    expect((await pay(permit, replica)).json()).toEqual(answer.json());
    expect(await received(payer)).toEqual([TEN]);
  });

  it('is credited once when two gateways get the payment at once', async () => {
    const payer = await payerWithApproval();
    const permits = await Promise.all(
      Array.from({ length: 10 }, () => signPermit(payer, gateway.payTo, TEN)),
    );
    await Promise.all(permits.flatMap(permit => [pay(permit), pay(permit, replica)]));
    for (const permit of permits) expect(await stateOf(permit)).toMatchObject({ state: 'credited' });
    expect(await received(payer)).toHaveLength(10);
    const { rows } = await gateway.sql.query(
      "SELECT count(*)::int AS credits FROM cell_0.payment p JOIN cell_0.transfer t ON t.id = p.payment_id WHERE p.identity LIKE 'permit2:8453:' || $1 || ':%'",
      [payer.address.toLowerCase()],
    );
    expect(rows[0].credits).toBe(10);
  });

  it('is credited when somebody else sends its permit first', async () => {
    const payer = await payerWithApproval();
    const stranger = await createPayer(0n);
    const permit = await signPermit(payer, gateway.payTo, TEN);
    faults.beforeSend = () => {
      faults.beforeSend = undefined;
      return sendAsPayer(stranger, EXACT_PROXY, callOf(permit));
    };
    const answer = await pay(permit);
    expect(answer.statusCode).toBe(200);
    expect(await received(payer)).toEqual([TEN]);
  });

  it('is credited for each permit of a batch that somebody else sends, by its own transfer', async () => {
    const payer = await payerWithApproval();
    const permits = await Promise.all([1, 2].map(() => signPermit(payer, gateway.payTo, TEN)));
    const calls = permits
      .map(callOf)
      .map(callData => ({ target: EXACT_PROXY, allowFailure: false, callData }) as const);
    const data = encodeFunctionData({ abi: multicall3Abi, functionName: 'aggregate3', args: [calls] });
    await sendAsPayer(await createPayer(0n), MULTICALL3, data);
    for (const permit of permits) expect((await pay(permit)).statusCode).toBe(200);
    const { rows } = await gateway.sql.query(
      'SELECT DISTINCT transaction, log_index FROM cell_0.payment WHERE payer = $1',
      [payer.address.toLowerCase()],
    );
    expect(rows).toHaveLength(2);
  });
});

describe('a permit', () => {
  let payer: PrivateKeyAccount;

  beforeAll(async () => {
    payer = await payerWithApproval();
  });

  async function refusalOf(permit: SignedPermit) {
    const answer = await pay(permit);
    expect(answer.statusCode).toBe(400);
    expect(await stateOf(permit)).toBeUndefined();
    const { error, details } = answer.json();
    return details.reason ?? `${error} ${details.field}`;
  }

  it('of another signer is refused', async () => {
    const permit = await signPermit(await createPayer(0n), gateway.payTo, TEN, { from: payer.address });
    expect(await refusalOf(permit)).toBe('invalid_permit2_signature');
  });

  it.each([
    ['spender', { spender: MULTICALL3 }, 'INVALID_PAYMENT payload.permit2Authorization.spender'],
    [
      'receiver',
      { witness: { to: MULTICALL3, validAfter: 0n } },
      'INVALID_PAYMENT_RECIPIENT payload.permit2Authorization.witness.to',
    ],
    [
      'token',
      { permitted: { token: MULTICALL3, amount: TEN } },
      'UNSUPPORTED_TOKEN payload.permit2Authorization.permitted.token',
    ],
    [
      'amount of nothing',
      { permitted: { token: BASE_USDC, amount: 0n } },
      'INVALID_AMOUNT payload.permit2Authorization.permitted.amount',
    ],
    ['deadline in the past', { deadline: 1_700_000_000n }, 'permit2_deadline_expired'],
    [
      'deadline in a week',
      { deadline: BigInt(Math.floor(Date.now() / 1000) + 604_800) },
      'permit2_deadline_expired',
    ],
  ] as const)('with a wrong %s is refused', async (_, fields, reason) => {
    const permit = await signPermit(payer, gateway.payTo, TEN, fields);
    const header = permitHeader(permit);
    // What the client repeats of the offer is right; only what it signed is not.
    const body = decodeBase64Json(header) as { accepted: { payTo: string } };
    body.accepted.payTo = gateway.payTo;
    const answer = await gateway.app.inject({
      method: 'POST',
      url: '/api/v1/x402/top-up',
      headers: { 'payment-signature': Buffer.from(JSON.stringify(body)).toString('base64') },
    });
    expect(answer.statusCode).toBe(400);
    const { error, details } = answer.json();
    expect(details.reason ?? `${error} ${details.field}`).toBe(reason);
  });

  it('that begins later is refused', async () => {
    const validAfter = BigInt(Math.floor(Date.now() / 1000) + 100);
    const permit = await signPermit(payer, gateway.payTo, TEN, {
      witness: { to: gateway.payTo, validAfter },
    });
    expect(await refusalOf(permit)).toBe('permit2_not_yet_valid');
  });

  it('of more than the wallet holds is refused', async () => {
    expect(await refusalOf(await signPermit(payer, gateway.payTo, 9_000n * 1_000_000n))).toBe(
      'permit2_insufficient_balance',
    );
  });

  it('of a wallet that has not allowed Permit2 is refused', async () => {
    const permit = await signPermit(await createPayer(), gateway.payTo, TEN);
    expect(await refusalOf(permit)).toBe('permit2_allowance_required');
  });

  it('with the nonce of another payment is refused', async () => {
    const first = await signPermit(payer, gateway.payTo, TEN);
    expect((await pay(first)).statusCode).toBe(200);
    const second = await signPermit(payer, gateway.payTo, TEN + 1n, { nonce: first.authorization.nonce });
    const answer = await pay(second);
    expect([answer.statusCode, answer.json().details.reason]).toEqual([400, 'permit2_invalid_nonce']);
  });
});

describe('a wallet that signs the allowance of Permit2, too', () => {
  it('pays without a transaction of its own', async () => {
    const payer = await createPayer();
    const permit = await withAllowance(payer, await signPermit(payer, gateway.payTo, TEN));
    expect((await pay(permit)).statusCode).toBe(200);
    expect(await received(payer)).toEqual([TEN]);
    // The same payment without the allowance is the same payment.
    const { extensions: _, ...bare } = permit;
    expect((await pay(bare)).statusCode).toBe(200);
    expect(await received(payer)).toEqual([TEN]);
  });

  it('is refused with an allowance of another amount, or one whose nonce is used', async () => {
    const payer = await createPayer();
    const permit = await signPermit(payer, gateway.payTo, TEN);
    const other = await pay(await withAllowance(payer, permit, { value: TEN * 2n }));
    expect([other.statusCode, other.json().error]).toEqual([400, 'INVALID_PAYMENT_FORMAT']);
    const used = await pay(await withAllowance(payer, permit, { nonce: 7n }));
    expect([used.statusCode, used.json().details.reason]).toEqual([400, 'permit2_allowance_required']);
    expect(await received(payer)).toEqual([]);
  });

  it('is not paid for where that is switched off', async () => {
    const unsponsored = await startGateway({ replicaOf: gateway, settings: { PERMIT2: 'on' }, seams });
    const payer = await createPayer();
    const permit = await withAllowance(payer, await signPermit(payer, gateway.payTo, TEN));
    const answer = await pay(permit, unsponsored);
    expect([answer.statusCode, answer.json().details.reason]).toEqual([400, 'permit2_allowance_required']);
    const offer = await unsponsored.app.inject({ method: 'POST', url: '/api/v1/x402/top-up' });
    expect(offer.json().accepts.at(-1).extra.assetTransferMethod).toBe('permit2');
    expect(offer.json()).not.toHaveProperty('extensions');
    await unsponsored.stop();
  });
});

it('is taken from a contract wallet, which Permit2 asks', async () => {
  const owner = privateKeyToAccount(generatePrivateKey());
  const wallet = await createPayer();
  await approvePermit2(wallet);
  const { runtimeBytecode } = JSON.parse(compileContract('TestWallet')) as { runtimeBytecode: Hex };
  await localChain().setCode({ address: wallet.address, bytecode: runtimeBytecode });
  await localChain().setStorageAt({ address: wallet.address, index: 0, value: pad(owner.address) });
  const permit = await signPermit(owner, gateway.payTo, TEN, { from: wallet.address });
  expect((await pay(permit)).json().details).toEqual({ reason: 'permit2_simulation_failed' });
  const marked: SignedPermit = { ...permit, signature: `0x01${permit.signature.slice(2)}` };
  expect((await pay(marked)).statusCode).toBe(200);
  expect(await received(wallet)).toEqual([TEN]);
});

describe('an open Permit2 payment', () => {
  /** A payment that was not sent, which the gateway cannot know. */
  async function leftPending(fields = {}) {
    const payer = await payerWithApproval();
    const permit = await signPermit(payer, gateway.payTo, TEN, fields);
    faults.settleLost = true;
    expect((await pay(permit)).statusCode).toBe(504);
    return { payer, permit };
  }

  async function expectFailed(permit: SignedPermit, reason: string) {
    await expect
      .poll(
        async () => {
          await passSafeBlock();
          await lookNow();
          return stateOf(permit);
        },
        { timeout: 60_000, interval: 300 },
      )
      .toMatchObject({ state: 'failed', reason });
  }

  it('is finished by the reconciler', async () => {
    const { payer, permit } = await leftPending();
    faults.settleLost = false;
    await lookNow();
    await expect.poll(() => stateOf(permit), { timeout: 20_000 }).toMatchObject({ state: 'credited' });
    expect(await received(payer)).toEqual([TEN]);
  });

  it('fails when its owner gives the nonce up', async () => {
    const { payer, permit } = await leftPending();
    await invalidateNonce(payer, permit.authorization.nonce);
    await expectFailed(permit, 'cancelled');
    expect(await received(payer)).toEqual([]);
  });

  it('fails when its nonce pays somebody else', async () => {
    const { payer, permit } = await leftPending();
    const other = await signPermit(payer, MULTICALL3, TEN, { nonce: permit.authorization.nonce });
    await sendAsPayer(await createPayer(0n), EXACT_PROXY, callOf(other));
    await expectFailed(permit, 'used_elsewhere');
  });

  it('is not credited for a transfer in whose call data it only stands', async () => {
    const { payer, permit } = await leftPending();
    const real = await signPermit(payer, gateway.payTo, TEN);
    const calls = [
      { target: EXACT_PROXY, allowFailure: false, callData: callOf(real) },
      // Nobody's address: the call succeeds and does nothing.
      { target: payer.address, allowFailure: false, callData: callOf(permit) },
    ] as const;
    const data = encodeFunctionData({ abi: multicall3Abi, functionName: 'aggregate3', args: [calls] });
    await sendAsPayer(await createPayer(0n), MULTICALL3, data);
    await passSafeBlock();
    await lookNow();
    await new Promise(resolve => setTimeout(resolve, 1_500));
    expect(await stateOf(permit)).toMatchObject({ state: 'pending' });
    faults.settleLost = false;
    await lookNow();
    await expect.poll(() => stateOf(permit), { timeout: 20_000 }).toMatchObject({ state: 'credited' });
  });

  it('fails when it has ended unused', async () => {
    const { payer, permit } = await leftPending({ deadline: BigInt(Math.floor(Date.now() / 1000) + 8) });
    await expectFailed(permit, 'expired');
    expect(await received(payer)).toEqual([]);
  });
});

it('leaves no gap between chain and books', async () => {
  const bare = await startGateway({ settings: { PERMIT2: 'on' } });
  const payer = await payerWithApproval();
  for (let i = 0; i < 3; i += 1) {
    expect((await pay(await signPermit(payer, bare.payTo, TEN), bare)).statusCode).toBe(200);
  }
  await passSafeBlock();
  const report = await bare.services.reconcile({ dryRun: false });
  expect(report).toMatchObject({
    settledNotCredited: [],
    creditedNotOnChain: [],
    pending: [],
    suspense: [],
  });
  expect(report.networks).toMatchObject([{ network: 'eip155:8453', problem: undefined }]);
  await bare.stop();
});

it('is settled by a facilitator behind a URL that runs the official classes', async () => {
  const facilitator = await startFacilitator();
  const remote = await startGateway({
    settings: { PERMIT2: 'sponsored', FACILITATORS: facilitator.url, EVM_PRIVATE_KEY: '' },
  });
  const payer = await createPayer();
  const sponsored = await withAllowance(payer, await signPermit(payer, remote.payTo, TEN));
  expect((await pay(sponsored, remote)).statusCode).toBe(200);
  await approvePermit2(payer);
  expect((await pay(await signPermit(payer, remote.payTo, TEN), remote)).statusCode).toBe(200);
  const forged = await signPermit(await createPayer(0n), remote.payTo, TEN, { from: payer.address });
  expect((await pay(forged, remote)).json().details).toEqual({ reason: 'invalid_permit2_signature' });
  expect((await facilitator.counts()).settle).toBe(2);
  await remote.stop();
  await facilitator.stop();
});

it('refuses payments until the contracts that it needs are on the chain', async () => {
  const chain = localChain();
  const code = await chain.getCode({ address: EXACT_PROXY });
  const cut = await startGateway({
    settings: { PERMIT2: 'on' },
    seams: {
      evmClient: client => ({
        ...client,
        code: address =>
          address === EXACT_PROXY.toLowerCase() ? Promise.resolve('0x') : client.code(address),
      }),
    },
  });
  expect(code).not.toBe('0x');
  const ready = await cut.app.inject({ url: '/readyz' });
  expect(ready.statusCode).toBe(503);
  expect(ready.body).toContain('PERMIT2: there is no x402 proxy of exact Permit2 payments on Base');
  await cut.stop();
});

function withoutDescriptions(schema: unknown): unknown {
  return JSON.parse(
    JSON.stringify(schema, (key, value: unknown) => (key === 'description' ? undefined : value)),
  );
}
