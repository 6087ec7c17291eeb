import { createHash } from 'node:crypto';
import { Client } from 'pg';
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import { newId } from '../../src/lib/ids.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';

const CHECK_VIOLATION = '23514';
const GENESIS = '5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp';
const HASH = createHash('sha256').update('a payment').digest('hex');
const SVM = `svm:${GENESIS}:${HASH}`;
const SIGNATURE = '5'.repeat(88);
const SENDER = `0x${'ab'.repeat(20)}`;

let database: TestDatabase;
let client: Client;
let accountId: string;

beforeAll(async () => {
  database = await createTestDatabase();
  client = new Client({ connectionString: database.databaseUrl });
  await client.connect();
  const { rows } = await client.query<{ account_id: string }>(
    `INSERT INTO directory.customer (customer_id, environment, cell) VALUES ($1, 'live', 'cell_0') RETURNING account_id`,
    [newId()],
  );
  accountId = rows[0]?.account_id ?? '';
});

afterAll(async () => {
  await client.end();
  await database.drop();
});

beforeEach(async () => {
  await client.query(
    'TRUNCATE directory.payment_claim, directory.svm_transaction, directory.evm_sender CASCADE',
  );
});

const insertions = {
  'payment claim': (identity: string) =>
    client.query(
      `INSERT INTO directory.payment_claim (identity, payment_id, account_id, environment, cell)
       VALUES ($1, $2, $3, 'live', 'cell_0')`,
      [identity, newId(), accountId],
    ),
  'fee payer': (feePayer: string) => insertSvm(feePayer, SIGNATURE),
  'Solana signature': (signature: string) => insertSvm(GENESIS, signature),
  sender: (sender: string) => insertSender(sender),
  'transaction hash': async (hash: string) => {
    await insertSender(SENDER);
    await client.query(
      `INSERT INTO directory.evm_transaction (network, sender, nonce, hash, raw, payment_id)
       VALUES ('eip155:8453', $1, 1, $2, '0x', $3)`,
      [SENDER, hash, newId()],
    );
  },
};

const insertSvm = (feePayer: string, signature: string) =>
  client.query(
    `INSERT INTO directory.svm_transaction (payment_id, network, fee_payer, signature, wire)
     VALUES ($1, 'solana', $2, $3, '')`,
    [newId(), feePayer, signature],
  );

const insertSender = (sender: string) =>
  client.query(
    `INSERT INTO directory.evm_sender (network, sender, next_nonce) VALUES ('eip155:8453', $1, 0)`,
    [sender],
  );

it.each<[keyof typeof insertions, string]>([
  ['payment claim', SVM],
  ['payment claim', `eip3009:8453:0x${HASH}`],
  ['fee payer', GENESIS],
  ['fee payer', '2'.repeat(44)],
  ['Solana signature', SIGNATURE],
  ['Solana signature', '1'.repeat(64)],
  ['sender', SENDER],
  ['transaction hash', `0x${HASH}`],
])('a %s is written as %s', async (kind, text) => {
  await insertions[kind](text);
});

it.each<[keyof typeof insertions, string, string]>([
  ['payment claim', 'a capital digit', `svm:${GENESIS}:${HASH.toUpperCase()}`],
  ['payment claim', 'one capital digit', SVM.replace(/[a-f](?=[^a-f]*$)/, digit => digit.toUpperCase())],
  ['payment claim', 'a capital scheme', `SVM:${GENESIS}:${HASH}`],
  ['payment claim', 'another scheme', `svn:${GENESIS}:${HASH}`],
  ['payment claim', 'a letter that base58 lacks', SVM.replace('5eyk', '0eyk')],
  ['payment claim', 'a line break in the network', SVM.replace('5eyk', '\neyk')],
  ['payment claim', 'another separator', `svm:${GENESIS};${HASH}`],
  ['payment claim', 'a digit too few', SVM.slice(0, -1)],
  ['payment claim', 'a digit too many', `${SVM}0`],
  ['payment claim', 'a line break at its end', `${SVM}\n`],
  ['payment claim', 'capitals in an EVM nonce', `eip3009:8453:0xAB${HASH}`],
  ['payment claim', 'nothing', ''],
  ['fee payer', 'a letter that base58 lacks', `${'2'.repeat(43)}l`],
  ['fee payer', 'a letter too few', '2'.repeat(31)],
  ['fee payer', 'a letter too many', '2'.repeat(45)],
  ['Solana signature', 'a letter that base58 lacks', `O${'5'.repeat(87)}`],
  ['Solana signature', 'a letter too few', '5'.repeat(63)],
  ['Solana signature', 'a letter too many', '5'.repeat(89)],
  ['Solana signature', 'a line break at its end', `${'5'.repeat(87)}\n`],
  ['sender', 'capitals', SENDER.replace('ab', 'AB')],
  ['sender', 'no prefix', 'ab'.repeat(21)],
  ['sender', 'a digit too few', SENDER.slice(0, -1)],
  ['transaction hash', 'capitals', `0x${HASH.toUpperCase()}`],
  ['transaction hash', 'a capital prefix', `0X${HASH}`],
  ['transaction hash', 'a digit too many', `0x${HASH}0`],
])('a %s with %s is not stored', async (kind, _, text) => {
  await expect(insertions[kind](text)).rejects.toMatchObject({ code: CHECK_VIOLATION });
});
