import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { unavailable } from '../../src/lib/errors.ts';
import type { SvmClient } from '../../src/ports/svm-client.ts';
import { fundedSolanaWallet, SOLANA_MAINNET } from '../support/solana.ts';
import {
  presentPayment,
  type SolanaGateway,
  solanaPaymentHeader,
  startSolanaGateway,
} from '../support/solana-gateway.ts';
import { tokenAccountOf } from '../support/svm-transaction.ts';

const NEVER_MS = 3_600_000;

/** What the node does, and what it was asked. */
const node = {
  /** Pages of the receiver's history it still gives. */
  pagesLeft: Number.POSITIVE_INFINITY,
  /** It does not know a transaction that a list is to go on after: then nothing is older. */
  forgetful: false,
  read: [] as string[],
  reading: 0,
  mostAtOnce: 0,
};

/** Lists four transactions at a time, so that there are pages. */
function paged(client: SvmClient): SvmClient {
  return {
    ...client,
    async history(account, page) {
      if (account !== tokenAccountOf(gateway.svmPayTo)) return client.history(account, page);
      if (node.pagesLeft <= 0) throw unavailable('the Solana node');
      node.pagesLeft -= 1;
      if (node.forgetful && page.before !== undefined) return [];
      return client.history(account, { ...page, limit: 4 });
    },
    async transaction(signature) {
      node.read.push(signature);
      node.reading += 1;
      node.mostAtOnce = Math.max(node.mostAtOnce, node.reading);
      try {
        return await client.transaction(signature);
      } finally {
        node.reading -= 1;
      }
    },
  };
}

let gateway: SolanaGateway;

beforeAll(async () => {
  gateway = await startSolanaGateway({ seams: { svmClient: paged, reconcileEveryMs: NEVER_MS } });
  // What came before the first payment is nobody's business.
  const wallet = await fundedSolanaWallet(gateway.chain, 100_000_000n);
  const answer = await presentPayment(gateway, await solanaPaymentHeader(gateway, wallet, 10_000_000n));
  expect(answer.statusCode, answer.body).toBe(200);
  await gateway.chain.advanceSlots(400);
});

afterAll(async () => {
  await gateway.stop();
});

beforeEach(() => {
  Object.assign(node, {
    pagesLeft: Number.POSITIVE_INFINITY,
    forgetful: false,
    read: [],
    reading: 0,
    mostAtOnce: 0,
  });
});

/** Money that no payment explains, each in a block of its own unless they are to share one. */
async function sendStray(count: number, atOnce = false): Promise<string[]> {
  const signatures: string[] = [];
  for (let index = 0; index < count; index += 1) {
    signatures.push(await gateway.chain.mint(gateway.svmPayTo, BigInt(index + 1)));
    if (!atOnce) await gateway.chain.advanceSlots(2);
  }
  await gateway.chain.advanceSlots(60);
  return signatures;
}

async function audit(options?: { dryRun: boolean }) {
  const report = await gateway.services.reconcile(options);
  const solana = report.networks.find(({ network }) => network === SOLANA_MAINNET);
  return { problem: solana?.problem, suspense: report.suspense.map(({ transaction }) => transaction) };
}

async function walk() {
  const { rows } = await gateway.sql.query(
    'SELECT walk_next IS NOT NULL AS open FROM directory.receipt_cursor WHERE network = $1',
    [SOLANA_MAINNET],
  );
  return rows[0]?.open;
}

async function closeAll(signatures: readonly string[]): Promise<void> {
  for (const transaction of signatures) {
    const { rows } = await gateway.sql.query(
      'SELECT log_index FROM directory.unapplied_receipt WHERE transaction = $1',
      [transaction],
    );
    const logIndex = rows[0].log_index;
    await gateway.services.closeReceipt({ network: SOLANA_MAINNET, transaction, logIndex, reason: 'a test' });
  }
}

describe('the comparison with what arrived on Solana', () => {
  it('goes on where it was interrupted, and reads no page twice', async () => {
    const sent = await sendStray(12);
    node.pagesLeft = 2;
    const first = await audit();
    expect([first.problem, await walk()]).toEqual([expect.any(String), true]);
    const read = new Set(node.read);
    expect(read.size).toBeGreaterThan(0);
    node.read = [];
    node.pagesLeft = Number.POSITIVE_INFINITY;
    const second = await audit();
    expect([second.problem, await walk()]).toEqual([undefined, false]);
    expect(second.suspense.toSorted()).toEqual(sent.toSorted());
    expect(node.read.filter(signature => read.has(signature))).toEqual([]);
    expect(node.mostAtOnce).toBeGreaterThan(1);

    // What is accounted for is not read again.
    node.read = [];
    expect((await audit()).suspense.toSorted()).toEqual(sent.toSorted());
    expect(node.read).toEqual([]);
    await closeAll(sent);
  });

  it('compares what arrives while a walk is under way, too', async () => {
    const early = await sendStray(8);
    node.pagesLeft = 1;
    await audit();
    const late = await sendStray(5);
    node.pagesLeft = Number.POSITIVE_INFINITY;
    expect((await audit()).suspense.toSorted()).toEqual([...early, ...late].toSorted());
    await closeAll([...early, ...late]);
    expect(await audit()).toEqual({ problem: undefined, suspense: [] });
  });

  it('finds what shares a block and does not fit into a page, also in a dry run', async () => {
    const sent = await sendStray(11, true);
    expect((await audit({ dryRun: true })).suspense.toSorted()).toEqual(sent.toSorted());
    expect((await audit()).suspense.toSorted()).toEqual(sent.toSorted());
    await closeAll(sent);
  });

  it('does not take a node that lost its place for the end of the list', async () => {
    const sent = await sendStray(9);
    node.forgetful = true;
    expect((await audit()).problem).toEqual(expect.any(String));
    node.forgetful = false;
    expect((await audit()).suspense.toSorted()).toEqual(sent.toSorted());
    await closeAll(sent);
  });
});
