import { type KeyPairSigner } from '@solana/kit';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { sleep } from '../../src/lib/deadline.ts';
import { unavailable } from '../../src/lib/errors.ts';
import { decodeBase58 } from '../../src/lib/svm-address.ts';
import type { SvmClient } from '../../src/ports/svm-client.ts';
import type { Seams } from '../../src/services/seams.ts';
import { fundedSolanaWallet, signSolanaTransaction, solanaUsdcBalance } from '../support/solana.ts';
import {
  presentPayment,
  type SolanaGateway,
  solanaCreditOf,
  solanaPaymentHeader,
  startSolanaGateway,
} from '../support/solana-gateway.ts';
import { newSvmKey } from '../support/svm-key.ts';
import { newSigner, tokenAccountOf, transfer } from '../support/svm-transaction.ts';

const NODE_DOWN = () => unavailable('the Solana node');

/** Which calls of the node fail right now, and what happens before a transaction is sent. */
const faults = {
  simulate: false,
  sendLost: false,
  sendDropped: false,
  statuses: false,
  /** The node was set up anew: it has no record of what was before. */
  forgetful: false,
  /** A transaction that is in no block any more, as after a fork. */
  undone: undefined as string | undefined,
  /** Statuses come from a node without a record, everything else from one that has it all. */
  mixed: false,
  beforeSend: undefined as ((wire: Uint8Array) => Promise<unknown>) | undefined,
};

function faulty(client: SvmClient): SvmClient {
  return {
    ...client,
    simulate: wire => (faults.simulate ? Promise.reject(NODE_DOWN()) : client.simulate(wire)),
    async send(wire) {
      await faults.beforeSend?.(wire);
      if (faults.sendDropped) throw NODE_DOWN();
      await client.send(wire);
      if (faults.sendLost) throw NODE_DOWN();
    },
    async signatureStatuses(signatures, searchHistory) {
      if (faults.statuses) throw NODE_DOWN();
      const answer = await client.signatureStatuses(signatures, searchHistory);
      const isUnknown = (signature: string) =>
        faults.forgetful || faults.mixed || signature === faults.undone;
      looks += searchHistory && signatures.some(isUnknown) ? 1 : 0;
      const statuses = answer.statuses.map((status, index) =>
        isUnknown(signatures[index] ?? '') ? undefined : status,
      );
      return { ...answer, statuses };
    },
    transaction: signature =>
      faults.forgetful || signature === faults.undone
        ? Promise.resolve(undefined)
        : client.transaction(signature),
    async history(account, page) {
      const entries = await client.history(account, page);
      const isPayer = faults.mixed && account !== tokenAccountOf(gateway.svmPayTo);
      if (faults.forgetful || isPayer) return [];
      return entries.filter(({ signature }) => signature !== faults.undone);
    },
    firstAvailableSlot: () => (faults.forgetful ? client.slot('finalized') : client.firstAvailableSlot()),
  };
}

/** How often a node was asked to search for a transaction that it does not know. */
let looks = 0;

const seams: Seams = {
  svmClient: faulty,
  settleWaitMs: 1_500,
  reconcileEveryMs: 100,
  maintainSenderEveryMs: 100,
  finalityCheckMs: 1_000,
  reorgGraceMs: 500,
};

let gateway: SolanaGateway;

beforeAll(async () => {
  gateway = await startSolanaGateway({ seams });
});

afterAll(async () => {
  await gateway.stop();
});

afterEach(() => {
  Object.assign(faults, {
    simulate: false,
    sendLost: false,
    sendDropped: false,
    statuses: false,
    forgetful: false,
    undone: undefined,
    mixed: false,
    beforeSend: undefined,
  });
});

const newWallet = () => fundedSolanaWallet(gateway.chain, 100_000_000n);
const WAIT = { timeout: 15_000 };

async function paymentOf({ address }: KeyPairSigner) {
  const { rows } = await gateway.sql.query<{ state: string; reason: string | null }>(
    'SELECT state, reason FROM cell_0.payment WHERE payer = $1',
    [address],
  );
  return rows[0];
}

async function failuresOf({ address }: KeyPairSigner): Promise<number> {
  const { rows } = await gateway.sql.query<{ n: number }>(
    "SELECT count(*)::int AS n FROM cell_0.payment WHERE payer = $1 AND reason = 'failed_on_chain'",
    [address],
  );
  return rows[0]?.n ?? 0;
}

describe('an outage', () => {
  it('of the node during verification is 503, never a bad payment, and nothing is stored', async () => {
    const wallet = await newWallet();
    const header = await solanaPaymentHeader(gateway, wallet, 10_000_000n);
    faults.simulate = true;
    const answer = await presentPayment(gateway, header);
    expect(answer.statusCode).toBe(503);
    expect(await paymentOf(wallet)).toBeUndefined();
    faults.simulate = false;
    expect((await presentPayment(gateway, header)).statusCode).toBe(200);
  });

  it('that loses the reply to the broadcast costs nothing', async () => {
    const wallet = await newWallet();
    faults.sendLost = true;
    const answer = await presentPayment(gateway, await solanaPaymentHeader(gateway, wallet, 10_000_000n));
    expect(answer.statusCode, answer.body).toBe(200);
    expect(await solanaUsdcBalance(gateway.chain, wallet.address)).toBe(90_000_000n);
  });

  it('that swallows the broadcast is mended: the stored bytes are sent again and credited once', async () => {
    const wallet = await newWallet();
    const header = await solanaPaymentHeader(gateway, wallet, 10_000_000n);
    faults.sendDropped = true;
    const answer = await presentPayment(gateway, header);
    expect(answer.statusCode, answer.body).toBe(504);
    expect(await solanaUsdcBalance(gateway.chain, wallet.address)).toBe(100_000_000n);
    faults.sendDropped = false;
    await expect
      .poll(() => solanaCreditOf(gateway, wallet.address), WAIT)
      .toEqual({
        posted: '10000000000',
        transfers: 1,
      });
    expect((await presentPayment(gateway, header)).statusCode).toBe(200);
    expect(await solanaUsdcBalance(gateway.chain, wallet.address)).toBe(90_000_000n);
  });

  it('after the broadcast leaves the payment pending, and it is credited once when the node is back', async () => {
    const wallet = await newWallet();
    const header = await solanaPaymentHeader(gateway, wallet, 10_000_000n);
    faults.statuses = true;
    expect((await presentPayment(gateway, header)).statusCode).toBe(504);
    expect((await presentPayment(gateway, header)).statusCode).toBe(409);
    expect(await solanaUsdcBalance(gateway.chain, wallet.address)).toBe(90_000_000n);
    faults.statuses = false;
    await expect
      .poll(() => solanaCreditOf(gateway, wallet.address), WAIT)
      .toEqual({
        posted: '10000000000',
        transfers: 1,
      });
  });

  it.each(['forgetful', 'mixed'] as const)(
    'after which a node has no record takes no credit back: %s',
    async fault => {
      const wallet = await newWallet();
      const answer = await presentPayment(gateway, await solanaPaymentHeader(gateway, wallet, 10_000_000n));
      expect(answer.statusCode, answer.body).toBe(200);
      faults[fault] = true;
      const before = looks;
      await gateway.chain.advanceSlots(100);
      const lookSoon = () =>
        gateway.sql.query('UPDATE cell_0.payment SET due_at = now() WHERE payer = $1', [wallet.address]);
      await expect
        .poll(async () => {
          await lookSoon();
          return looks;
        }, WAIT)
        .toBeGreaterThan(before + 2);
      const isFinal = async () =>
        (await gateway.sql.query('SELECT final_at FROM cell_0.payment WHERE payer = $1', [wallet.address]))
          .rows[0].final_at !== null;
      expect([(await paymentOf(wallet))?.state, await isFinal()]).toEqual(['credited', false]);
      faults[fault] = false;
      await lookSoon();
      await expect.poll(isFinal, { timeout: 30_000 }).toBe(true);
      expect(await solanaCreditOf(gateway, wallet.address)).toEqual({ posted: '10000000000', transfers: 1 });
    },
  );

  it('that undoes the transfer takes its credit back, and gives it again when the transfer returns', async () => {
    const wallet = await newWallet();
    const answer = await presentPayment(gateway, await solanaPaymentHeader(gateway, wallet, 10_000_000n));
    expect(answer.statusCode, answer.body).toBe(200);
    const { rows } = await gateway.sql.query('SELECT transaction FROM cell_0.payment WHERE payer = $1', [
      wallet.address,
    ]);
    faults.undone = rows[0].transaction;
    await expect.poll(() => paymentOf(wallet), { timeout: 30_000 }).toMatchObject({ state: 'reversed' });
    expect((await solanaCreditOf(gateway, wallet.address))?.posted).toBe('0');
    faults.undone = undefined;
    await expect.poll(() => paymentOf(wallet), { timeout: 30_000 }).toMatchObject({ state: 'credited' });
    expect((await solanaCreditOf(gateway, wallet.address))?.posted).toBe('10000000000');
  });

  it('that is only slowness is waited for', async () => {
    const wallet = await newWallet();
    faults.beforeSend = () => sleep(800);
    const answer = await presentPayment(gateway, await solanaPaymentHeader(gateway, wallet, 10_000_000n));
    expect(answer.statusCode, answer.body).toBe(200);
  });
});

describe('a payment is called failed only when the chain proves it', () => {
  it('never sent, and its blockhash dead at a finalized block: nothing moved', async () => {
    const wallet = await newWallet();
    const header = await solanaPaymentHeader(gateway, wallet, 10_000_000n);
    faults.sendDropped = true;
    expect((await presentPayment(gateway, header)).statusCode).toBe(504);
    // Dead for a new block, but an older one that holds it could still become final.
    await gateway.chain.advanceSlots(200);
    await sleep(500);
    expect((await paymentOf(wallet))?.state).toBe('pending');
    await gateway.chain.advanceSlots(400);
    await expect.poll(() => paymentOf(wallet), WAIT).toEqual({ state: 'failed', reason: 'expired' });
    faults.sendDropped = false;
    const again = await presentPayment(gateway, header);
    expect(again.statusCode).toBe(402);
    expect(again.json()).toMatchObject({ error: 'SETTLEMENT_FAILED' });
    expect(await solanaUsdcBalance(gateway.chain, wallet.address)).toBe(100_000_000n);
    expect(await solanaCreditOf(gateway, wallet.address)).toEqual({ posted: '0', transfers: 0 });
  });

  it('executed without the money, because the wallet emptied itself in between', async () => {
    const wallet = await newWallet();
    const header = await solanaPaymentHeader(gateway, wallet, 60_000_000n);
    const thief = await newSigner();
    await gateway.chain.mint(thief.address, 0n);
    const walletBytes = Buffer.from(decodeBase58(wallet.address) ?? []);
    faults.beforeSend = async sent => {
      // Earlier payments are sent again now and then, and they are not meant.
      if (!Buffer.from(sent).includes(walletBytes)) return;
      faults.beforeSend = undefined;
      const flight = transfer({ payer: wallet, payTo: thief.address, amount: 90_000_000n });
      const { wire } = await signSolanaTransaction(gateway.chain, wallet, [flight]);
      await sendWire(wire);
    };
    expect((await presentPayment(gateway, header)).statusCode).toBe(504);
    await gateway.chain.advanceSlots(40);
    await expect.poll(() => paymentOf(wallet), WAIT).toEqual({ state: 'failed', reason: 'failed_on_chain' });
    expect(await solanaUsdcBalance(gateway.chain, wallet.address)).toBe(10_000_000n);
    expect(await solanaCreditOf(gateway, wallet.address)).toEqual({ posted: '0', transfers: 0 });
    expect((await presentPayment(gateway, header)).statusCode).toBe(402);
  });
});

describe('a wallet', () => {
  it('whose payments fail on chain again and again is refused, and no payment is stored', async () => {
    const wallet = await newWallet();
    const thief = await newSigner();
    await gateway.chain.mint(thief.address, 0n);
    const headers = await Promise.all([1, 2, 3].map(() => solanaPaymentHeader(gateway, wallet, 60_000_000n)));
    // Each costs us a fee: all are rehearsed before the money is gone.
    let waiting = 0;
    let emptied: Promise<void> | undefined;
    faults.beforeSend = async () => {
      waiting += 1;
      while (waiting < headers.length) await sleep(10);
      emptied ??= (async () => {
        const flight = transfer({ payer: wallet, payTo: thief.address, amount: 90_000_000n });
        await sendWire((await signSolanaTransaction(gateway.chain, wallet, [flight])).wire);
      })();
      await emptied;
    };
    const answers = await Promise.all(headers.map(header => presentPayment(gateway, header)));
    expect(answers.map(({ statusCode }) => statusCode)).toEqual([504, 504, 504]);
    faults.beforeSend = undefined;
    await gateway.chain.advanceSlots(40);
    await expect.poll(() => failuresOf(wallet), WAIT).toBe(3);
    await gateway.chain.mint(wallet.address, 90_000_000n);
    const refused = await presentPayment(gateway, await solanaPaymentHeader(gateway, wallet, 60_000_000n));
    expect(refused.statusCode, refused.body).toBe(400);
    expect(await solanaCreditOf(gateway, wallet.address)).toEqual({ posted: '0', transfers: 0 });
  });
});

async function sendWire(wire: string): Promise<void> {
  const answer = await fetch(gateway.chain.rpcUrl, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({
      jsonrpc: '2.0',
      id: 1,
      method: 'sendTransaction',
      params: [wire, { encoding: 'base64', skipPreflight: true }],
    }),
  });
  expect(await answer.json()).not.toHaveProperty('error');
}

describe('the fee payer', () => {
  it('whose key is changed leaves nothing behind: what it has signed is sent and credited', async () => {
    const next = newSvmKey();
    const dropping: Seams = {
      ...seams,
      svmClient: client => ({ ...client, send: () => Promise.reject(NODE_DOWN()) }),
    };
    const own = await startSolanaGateway({ seams: dropping });
    try {
      const payer = await fundedSolanaWallet(own.chain, 100_000_000n);
      await own.chain.airdrop(next.address, 1_000_000_000n);
      const header = await solanaPaymentHeader(own, payer, 10_000_000n);
      expect((await presentPayment(own, header)).statusCode).toBe(504);
      const changed = await own.replica({ settings: { SVM_PRIVATE_KEY: next.secret } });
      await expect
        .poll(() => solanaCreditOf(own, payer.address), WAIT)
        .toEqual({ posted: '10000000000', transfers: 1 });
      await changed.stop();
    } finally {
      await own.stop();
    }
  });

  it('that cannot pay for one more settlement takes no payment, and readiness says which key', async () => {
    const poor = await startSolanaGateway();
    try {
      const payer = await fundedSolanaWallet(poor.chain, 100_000_000n);
      const header = await solanaPaymentHeader(poor, payer, 10_000_000n);
      const replica = await poor.replica({
        seams: { svmClient: client => ({ ...client, balance: () => Promise.resolve(900_000n) }) },
      });
      const answer = await presentPayment(replica, header);
      expect(answer.statusCode).toBe(503);
      const ready = await replica.app.inject('/readyz');
      expect(ready.statusCode).toBe(503);
      expect(ready.body).toContain(`SVM_PRIVATE_KEY: ${poor.feePayer} needs SOL`);
      await replica.stop();
    } finally {
      await poor.stop();
    }
  });

  it('that is about to run dry closes readiness while payments still succeed', async () => {
    const poor = await startSolanaGateway();
    try {
      const payer = await fundedSolanaWallet(poor.chain, 100_000_000n);
      const header = await solanaPaymentHeader(poor, payer, 10_000_000n);
      const withBalance = (lamports: bigint) =>
        poor.replica({
          seams: { svmClient: client => ({ ...client, balance: () => Promise.resolve(lamports) }) },
        });
      // A hundredth of a SOL; the dry point is below a thousandth.
      const enough = await withBalance(10_000_000n);
      expect((await enough.app.inject('/readyz')).statusCode).toBe(200);
      await enough.stop();
      const low = await withBalance(9_999_999n);
      const ready = await low.app.inject('/readyz');
      expect([ready.statusCode, ready.json()]).toMatchObject([503, { status: 'not_ready' }]);
      expect(ready.body).toContain(`SVM_PRIVATE_KEY: ${poor.feePayer} needs SOL`);
      expect((await presentPayment(low, header)).statusCode).toBe(200);
      await low.stop();
    } finally {
      await poor.stop();
    }
  });
});
