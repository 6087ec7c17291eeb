import type { PrivateKeyAccount } from 'viem/accounts';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createAccounts } from '../../../src/accounts/accounts.ts';
import { findWallet } from '../../../src/customers/customers.ts';
import type { Queryable, Statement } from '../../../src/db/queryable.ts';
import { refund } from '../../../src/ledger/corrections.ts';
import { applyOperations } from '../../../src/ledger/spending.ts';
import { encodeBase64Json } from '../../../src/lib/base64.ts';
import { newId } from '../../../src/lib/ids.ts';
import { startGateway, type TestGateway } from '../../support/gateway.ts';
import { createPayer, paymentHeader, signPayment } from '../../support/payment.ts';

let gateway: TestGateway;
let payer: PrivateKeyAccount;
const charge = newId();

beforeAll(async () => {
  gateway = await startGateway();
  payer = await createPayer(100n);
  const payment = await signPayment(payer, gateway.payTo, 12_500_000n);
  const paid = await gateway.app.inject({
    method: 'POST',
    url: '/api/v1/x402/top-up',
    headers: { 'payment-signature': paymentHeader(payment) },
  });
  expect(paid.statusCode).toBe(200);
  const wallet = { environment: 'live', network: 'eip155:8453', address: payer.address } as const;
  const { accountId, cell } = (await findWallet(gateway.sql, wallet)) ?? expect.unreachable();
  // What the metered routes do: an amount below a cent, a hold that is given back, and a refund.
  const hold = newId();
  const operations = [
    { kind: 'debit', accountId, id: charge, amountNanoUsd: 150_006_600n },
    { kind: 'hold', accountId, id: hold, amountNanoUsd: 1_000_000_000n, lifetimeMs: 60_000 },
    { kind: 'release', accountId, id: hold },
  ] as const;
  for (const operation of operations) {
    const [result] = await applyOperations(gateway.sql, cell, [operation]);
    expect(result?.status).toBe('applied');
  }
  const order = { accountId, id: newId(), originalId: charge, reason: 'failed', actor: 'metering' };
  expect(await refund(gateway.sql, cell, { ...order, amountNanoUsd: 100_000_000n })).toMatchObject({
    status: 'applied',
  });
});

afterAll(async () => {
  await gateway?.stop();
});

async function read(query = '') {
  const message = [
    `127.0.0.1 wants you to sign in with your Ethereum account:\n${payer.address}\n\n`,
    `URI: http://127.0.0.1:4020\nVersion: 1\nChain ID: 8453\nNonce: ${newId().replaceAll('-', '')}`,
    `Issued At: ${new Date().toISOString()}`,
  ].join('\n');
  const proof = { address: payer.address, message, signature: await payer.signMessage({ message }) };
  const answer = await gateway.app.inject({
    url: `/api/v1/x402/transactions/${payer.address}${query}`,
    headers: { 'sign-in-with-x': encodeBase64Json(proof) },
  });
  expect(answer.statusCode).toBe(200);
  return answer.json().data;
}

const row = (type: string, amount: number, balanceAfter: number) => ({
  id: expect.any(String),
  type,
  amount,
  balanceAfter,
  createdAt: expect.stringMatching(/^\d{4}-\d{2}-\d{2}T.*Z$/),
  requestId: null,
  modelId: null,
});

const rows = [
  row('REFUND', 0.1, 12.4499934),
  row('CHARGE', -0.1500066, 12.3499934),
  row('TOP_UP', 12.5, 12.5),
];

describe("a wallet's statement", () => {
  it('has all three kinds of rows, newest first, and nothing that moved no money', async () => {
    expect(await read()).toEqual({
      walletAddress: payer.address.toLowerCase(),
      currentBalance: 12.4499934,
      transactions: rows,
      pagination: { limit: 50, offset: 0, hasMore: false },
    });
  });

  it('is read in pages that neither skip nor repeat', async () => {
    for (const [offset, expected] of rows.entries()) {
      const page = await read(`?limit=1&offset=${offset}`);
      expect(page.transactions).toEqual([expected]);
      expect(page.pagination).toEqual({ limit: 1, offset, hasMore: offset < 2 });
    }
    for (const offset of ['3', '1000001', '9007199254740993', `1${'0'.repeat(30)}`]) {
      expect(await read(`?offset=${offset}`)).toMatchObject({
        transactions: [],
        pagination: { offset: Number(offset), hasMore: false },
      });
    }
  });
});

interface PlanNode {
  'Node Type': string;
  'Actual Rows': number;
  'Index Name'?: string;
  Plans?: PlanNode[];
}

const leavesOf = (node: PlanNode): PlanNode[] => node.Plans?.flatMap(leavesOf) ?? [node];

describe('a balance read', () => {
  it('touches one row by a key in each table, and no other', async () => {
    const asked: Statement[] = [];
    const watching: Queryable = {
      query: statement => {
        asked.push(statement);
        return gateway.sql.query(statement);
      },
    };
    const accounts = createAccounts(watching, () => 'live');
    const balance = await accounts.walletBalance('eip155:8453', payer.address);
    expect(balance).toEqual({ availableNanoUsd: 12_449_993_400n });
    expect(asked).toHaveLength(2);

    const client = await gateway.sql.connect();
    try {
      // A table of one page is read whole for less than an index costs; that is not what is asked here.
      await client.query('SET enable_seqscan = off');
      for (const { text, values } of asked) {
        const { rows: plans } = await client.query({
          text: `EXPLAIN (ANALYZE, FORMAT JSON) ${text}`,
          values,
        });
        const [{ Plan: root }] = plans[0]['QUERY PLAN'] as [{ Plan: PlanNode }];
        for (const leaf of leavesOf(root)) {
          expect(leaf['Node Type']).toMatch(/^Index (Only )?Scan$/);
          expect(leaf['Index Name']).toMatch(/_(pkey|key)$/);
          expect(leaf['Actual Rows']).toBe(1);
        }
      }
    } finally {
      client.release(true);
    }
  });
});
