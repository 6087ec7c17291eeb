import { randomBytes } from 'node:crypto';
import { Pool } from 'pg';
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import { createSvmClient } from '../../src/chains/svm-client.ts';
import { createSvmSender, type SvmSender } from '../../src/facilitators/svm-sender.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { newId } from '../../src/lib/ids.ts';
import { encodeBase58 } from '../../src/lib/svm-address.ts';
import { readSvmKey } from '../../src/lib/svm-key.ts';
import { createSvmSenderStore } from '../../src/payments/svm-sender-store.ts';
import type { SvmClient } from '../../src/ports/svm-client.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { newSvmKey } from '../support/svm-key.ts';

const NETWORK = 'solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp';
const key = readSvmKey(newSvmKey().secret) ?? expect.unreachable();

/** More than a node tells about in one call, and not a whole number of its calls. */
const MANY = 450;

let database: TestDatabase;
let pool: Pool;
let sender: SvmSender;
/** What the node knows: names of transactions that are final, and all that it was sent. */
let final: Set<string>;
let sent: string[];

/** The node, whose answers are the test's. */
const client: SvmClient = {
  ...createSvmClient({ network: NETWORK, title: 'Solana', rpcUrl: 'http://127.0.0.1:9', timeoutMs: 1_000 }),
  async signatureStatuses(signatures) {
    const known = { slot: 1n, succeeded: true, commitment: 'finalized', confirmations: undefined } as const;
    return { slot: 1n, statuses: signatures.map(signature => (final.has(signature) ? known : undefined)) };
  },
  async send(wire) {
    sent.push(Buffer.from(wire).toString('utf8'));
  },
};

beforeAll(async () => {
  database = await createTestDatabase();
  pool = new Pool({ connectionString: database.databaseUrl, max: 4 });
});

afterAll(async () => {
  await pool.end();
  await database.drop();
});

beforeEach(async () => {
  await pool.query('TRUNCATE directory.svm_transaction');
  final = new Set();
  sent = [];
  sender = createSvmSender({ client, store: createSvmSenderStore(pool), key, clock: systemClock });
});

/** Stores transactions as those of earlier payments; each one's bytes are its name. @returns their names, oldest first */
async function storeMany(count: number): Promise<string[]> {
  const signatures = Array.from({ length: count }, () => encodeBase58(randomBytes(64)));
  const store = createSvmSenderStore(pool);
  const owner = { network: NETWORK, feePayer: key.address };
  for (const signature of signatures) {
    const wire = Buffer.from(signature).toString('base64');
    await store.store(owner, newId(), { signature, wire });
  }
  return signatures;
}

const live = () => createSvmSenderStore(pool).countLive({ network: NETWORK, feePayer: key.address });

it('finishes in one round all that is final, however many payments there were', async () => {
  final = new Set(await storeMany(MANY));
  await sender.maintain();
  expect(await live()).toBe(0);
  expect(sent).toEqual([]);
});

it('is not held up by those at the head that still wait, which it sends again', async () => {
  const signatures = await storeMany(MANY);
  const waiting = signatures.slice(0, 150);
  final = new Set(signatures.slice(150));
  await sender.maintain();
  expect(await live()).toBe(waiting.length);
  expect(sent.toSorted()).toEqual(waiting.toSorted());
});

it('looks no further than one page of which all still wait', async () => {
  const signatures = await storeMany(MANY);
  await sender.maintain();
  expect(await live()).toBe(MANY);
  expect(sent).toEqual(signatures.slice(0, sent.length));
  expect(sent.length).toBeLessThan(256);
  expect(sent.length).toBeGreaterThan(0);
});
