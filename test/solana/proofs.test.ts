import { type Address, address } from '@solana/kit';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createSvmChain } from '../../src/chains/svm-chain.ts';
import { createSvmReceipts } from '../../src/chains/svm-receipts.ts';
import { encodeBase58 } from '../../src/lib/svm-address.ts';
import { TOKEN_2022_PROGRAM } from '../../src/lib/svm-token.ts';
import { readSvmTransaction } from '../../src/lib/svm-transaction.ts';
import { decodeSigned } from '../../src/payments/signed-codec.ts';
import { requireKind, type SolanaPayment } from '../../src/ports/payment.ts';
import type { SvmClient, SvmSignatureStatus } from '../../src/ports/svm-client.ts';
import { fundedSolanaWallet } from '../support/solana.ts';
import {
  ownPaymentHeader,
  presentPayment,
  type SolanaGateway,
  solanaCreditOf,
  solanaPaymentHeader,
  startSolanaGateway,
} from '../support/solana-gateway.ts';
import {
  buildTransaction,
  newSigner,
  paymentInstructions,
  solanaNetwork,
  tokenAccountOf,
} from '../support/svm-transaction.ts';

const network = solanaNetwork();

let gateway: SolanaGateway;
let client: SvmClient;

beforeAll(async () => {
  const svmClient = (made: SvmClient) => {
    client = made;
    return made;
  };
  gateway = await startSolanaGateway({ seams: { svmClient } });
});

afterAll(async () => {
  await gateway.stop();
});

/** The chain as the gateway reads it, through a node with these differences. */
function chainWith(changes: Partial<SvmClient> = {}) {
  const receiver = { payTo: gateway.svmPayTo, tokenAccount: tokenAccountOf(gateway.svmPayTo) as string };
  return createSvmChain(network, { ...client, ...changes }, receiver);
}

/** A payment that was made and credited. */
async function settledPayment(): Promise<{ payment: SolanaPayment; fromBlock: bigint; transaction: string }> {
  const wallet = await fundedSolanaWallet(gateway.chain, 100_000_000n);
  const answer = await presentPayment(gateway, await solanaPaymentHeader(gateway, wallet, 10_000_000n));
  expect(answer.statusCode, answer.body).toBe(200);
  const { rows } = await gateway.sql.query<{ signed: unknown; from_block: string; transaction: string }>(
    'SELECT signed, from_block, transaction FROM cell_0.payment WHERE payer = $1',
    [wallet.address],
  );
  const [row] = rows;
  if (!row) throw new Error('the payment is not stored');
  return {
    payment: requireKind(decodeSigned(row.signed), 'solana'),
    fromBlock: BigInt(row.from_block),
    transaction: row.transaction,
  };
}

describe('a signature that a facilitator names', () => {
  it.each([
    ['is none', 'z'.repeat(66)],
    ['is nobody’s', encodeBase58(new Uint8Array(64).fill(7))],
  ])('and that %s keeps nobody from finding the payment', async (_, named) => {
    const { payment, fromBlock, transaction } = await settledPayment();
    const proof = await chainWith().proveSettlement(payment, {
      transactions: [],
      reported: [named],
      fromBlock,
    });
    expect(proof).toMatchObject({
      kind: 'transferred',
      transfer: { transaction, amountBaseUnits: 10_000_000n },
    });
  });

  it('and that is not confirmed is not waited for', async () => {
    const { payment, fromBlock, transaction } = await settledPayment();
    const named = encodeBase58(new Uint8Array(64).fill(8));
    const signatureStatuses: SvmClient['signatureStatuses'] = async (signatures, searchHistory) => {
      const answer = await client.signatureStatuses(signatures, searchHistory);
      const processed = {
        slot: fromBlock,
        succeeded: true,
        commitment: 'processed',
        confirmations: 0,
      } as const;
      const statuses = answer.statuses.map((status, index) =>
        signatures[index] === named ? processed : status,
      );
      return { ...answer, statuses };
    };
    const hint = { transactions: [], reported: [named], fromBlock };
    expect(await chainWith({ signatureStatuses }).proveSettlement(payment, hint)).toMatchObject({
      kind: 'transferred',
      transfer: { transaction },
    });
  });
});

describe('the payment’s own transaction under our signature', () => {
  const unread = () => Promise.resolve(undefined);
  const inProgress = (transaction: string) => ({ kind: 'unknown', used: true, transaction });

  it('has moved the signed amount when it succeeded, and is not read', async () => {
    const { payment, fromBlock, transaction } = await settledPayment();
    const read = { transactions: [transaction], fromBlock };
    const hint = { ...read, signed: transaction };
    const proof = await chainWith({ transaction: unread }).proveSettlement(payment, hint);
    expect(proof).toMatchObject({ kind: 'transferred', transfer: { transaction, from: payment.payer } });
    expect(proof).toEqual(await chainWith().proveSettlement(payment, read));
  });

  it.each<[string, Partial<SvmSignatureStatus>]>([
    ['it failed', { succeeded: false }],
    ['the votes for its block are not there yet', { commitment: 'confirmed', confirmations: 0 }],
    ['the node does not say how sure it is', { commitment: null as never, confirmations: 1 }],
  ])('is read where %s', async (_, change) => {
    const { payment, fromBlock, transaction } = await settledPayment();
    const signatureStatuses: SvmClient['signatureStatuses'] = async (...question) => {
      const { slot, statuses } = await client.signatureStatuses(...question);
      return { slot, statuses: statuses.map(status => status && { ...status, ...change }) };
    };
    const hint = { transactions: [transaction], signed: transaction, fromBlock };
    const chain = chainWith({ transaction: unread, signatureStatuses });
    expect(await chain.proveSettlement(payment, hint)).toEqual(inProgress(transaction));
  });

  it.each<[string, (payment: SolanaPayment) => Partial<SolanaPayment>]>([
    ['of another amount', payment => ({ amountBaseUnits: payment.amountBaseUnits + 1n })],
    ['of another token', () => ({ asset: tokenAccountOf(gateway.svmPayTo) })],
    [
      'to another account',
      ({ transaction }) => ({ transaction: { ...transaction, destination: transaction.source } }),
    ],
    [
      'that is another payment',
      ({ identity }) => ({ identity: `${identity.slice(0, -64)}${'0'.repeat(64)}` }),
    ],
  ])('is read where the payment is one %s', async (_, change) => {
    const { payment, fromBlock, transaction } = await settledPayment();
    const changed = { ...payment, ...change(payment) };
    const hint = { transactions: [transaction], signed: transaction, fromBlock };
    expect(await chainWith({ transaction: unread }).proveSettlement(changed, hint)).toEqual(
      inProgress(transaction),
    );
  });

  it.each([
    ['pays itself', (account: Address) => ({ source: account, destination: account })],
    ['moves a token whose program may keep a fee', () => ({ tokenProgram: address(TOKEN_2022_PROGRAM) })],
  ])('is read where it %s', async (_, change) => {
    const { payment, fromBlock, transaction } = await settledPayment();
    const terms = { payer: await newSigner(), payTo: gateway.svmPayTo, amount: payment.amountBaseUnits };
    const instructions = paymentInstructions({ ...terms, ...change(tokenAccountOf(gateway.svmPayTo)) });
    const wire = await buildTransaction({ feePayer: gateway.feePayer, instructions });
    const view = readSvmTransaction(Buffer.from(wire, 'base64'));
    const identity = `${payment.identity.slice(0, -64)}${view?.messageHash}`;
    const made = { ...payment, identity, transaction: { ...payment.transaction, wire } };
    const hint = { transactions: [transaction], signed: transaction, fromBlock };
    expect(await chainWith({ transaction: unread }).proveSettlement(made, hint)).toEqual(
      inProgress(transaction),
    );
  });
});

describe('money that came to the receiver’s token account', () => {
  it('is not the receiver’s after the account was given away', async () => {
    const { fromBlock, transaction } = await settledPayment();
    const receiver = { payTo: gateway.svmPayTo, tokenAccount: tokenAccountOf(gateway.svmPayTo) as string };
    const given: Partial<SvmClient> = {
      async transaction(signature) {
        const executed = await client.transaction(signature);
        return (
          executed && { ...executed, after: executed.after.map(each => ({ ...each, owner: transaction })) }
        );
      },
    };
    const range = { fromBlock, toBlock: fromBlock + 100n, next: undefined, seen: 0n };
    const listed = async (node: SvmClient) => {
      const { transfers } = await createSvmReceipts(network, node, receiver).pageBack(range);
      return transfers.map(each => each.transaction);
    };
    expect(await listed(client)).toContain(transaction);
    expect(await listed({ ...client, ...given })).not.toContain(transaction);
  });
});

describe('a search of the history', () => {
  const unlisted: SvmClient['history'] = async (account, page) =>
    (await client.history(account, page)).map(entry => ({ ...entry, memo: undefined }));

  it('finds the payment also where the node does not list memos', async () => {
    const { payment, fromBlock, transaction } = await settledPayment();
    const proof = await chainWith({ history: unlisted }).proveSettlement(payment, {
      transactions: [],
      fromBlock,
    });
    expect(proof).toMatchObject({ kind: 'transferred', transfer: { transaction } });
  });

  it('that could not read what it found proves nothing', async () => {
    const { payment, fromBlock } = await settledPayment();
    await gateway.chain.advanceSlots(700);
    const hint = { transactions: [], fromBlock };
    const unread = () => Promise.resolve(undefined);
    expect(await chainWith({ transaction: unread }).proveSettlement(payment, hint)).toEqual({
      kind: 'unknown',
      used: false,
    });
    const hidden = chainWith({ history: unlisted, transaction: unread });
    expect(await hidden.proveSettlement(payment, hint)).toEqual({ kind: 'unknown', used: false });
    const never = { ...payment, identity: `${payment.identity.slice(0, -64)}${'0'.repeat(64)}` };
    expect(await chainWith().proveSettlement(never, hint)).toEqual({ kind: 'impossible', reason: 'expired' });
  });
});

describe('a blockhash that the finalized block does not know', () => {
  it('is not called expired because the node that was asked at first lags behind', async () => {
    const faults = { lagging: true, dropped: true };
    const svmClient = (real: SvmClient): SvmClient => ({
      ...real,
      slot: async commitment => (await real.slot(commitment)) - (faults.lagging ? 400n : 0n),
      send: wire => (faults.dropped ? Promise.resolve() : real.send(wire)),
    });
    const own = await startSolanaGateway({
      seams: { svmClient, settleWaitMs: 1_500, reconcileEveryMs: 100 },
      local: { finalizedAfterSlots: 80 },
    });
    try {
      const wallet = await fundedSolanaWallet(own.chain, 100_000_000n);
      const answer = await presentPayment(own, await ownPaymentHeader(own, wallet, 10_000_000n));
      expect(answer.statusCode, answer.body).toBe(504);
      Object.assign(faults, { lagging: false, dropped: false });
      await expect
        .poll(() => solanaCreditOf(own, wallet.address), { timeout: 15_000 })
        .toEqual({ posted: '10000000000', transfers: 1 });
    } finally {
      await own.stop();
    }
  });

  it('is not accepted from a facilitator while our own node does not know it', async () => {
    const { payment } = await settledPayment();
    const chain = chainWith({ isBlockhashValid: () => Promise.resolve({ slot: 7n, valid: false }) });
    await expect(chain.currentBlock(payment)).rejects.toMatchObject({ code: 'unavailable' });
    const asked: string[] = [];
    const knowing = chainWith({
      async isBlockhashValid(blockhash, commitment) {
        asked.push(commitment);
        return { ...(await client.isBlockhashValid(blockhash, commitment)), slot: 7n };
      },
    });
    expect([await knowing.currentBlock(payment), asked]).toEqual([7n, ['confirmed']]);
  });
});
