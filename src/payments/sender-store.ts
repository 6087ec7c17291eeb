import type { Pool } from 'pg';
import type { Queryable } from '../db/queryable.ts';
import { withTransaction } from '../db/transaction.ts';
import { assert } from '../lib/assert.ts';
import type {
  SenderKey,
  SenderStore,
  SignedPayment,
  SignedTransaction,
  StoreOutcome,
} from '../ports/sender-store.ts';

interface TransactionRow {
  nonce: string;
  hash: string;
  raw: string;
}

const toTransaction = (row: TransactionRow): SignedTransaction => ({ ...row, nonce: BigInt(row.nonce) });

/** A payment is signed once, and again for each time its nonce was lost or its fee raised. */
const MAX_HASHES_PER_PAYMENT = 50;

/** One statement and so one commit; the function is called for one payment after the other. */
async function storeSigned(
  db: Queryable,
  { network, sender }: SenderKey,
  guesses: readonly SignedPayment[],
): Promise<StoreOutcome[]> {
  const result = await db.query<TransactionRow & { outcome: 'stored' | 'existing' | 'stale' }>({
    name: 'directory.store_signed_transactions',
    text: `SELECT s.outcome, s.nonce, s.hash, s.raw
           FROM unnest($3::bigint[], $4::text[], $5::text[], $6::uuid[]) WITH ORDINALITY
                  AS g (nonce, hash, raw, payment_id, position)
           CROSS JOIN LATERAL
             directory.store_signed_transaction($1, $2, g.nonce, g.hash, g.raw, g.payment_id) AS s
           ORDER BY g.position`,
    values: [
      network,
      sender,
      guesses.map(({ signed }) => signed.nonce),
      guesses.map(({ signed }) => signed.hash),
      guesses.map(({ signed }) => signed.raw),
      guesses.map(({ paymentId }) => paymentId),
    ],
  });
  assert(result.rows.length === guesses.length, 'every guess has an outcome');
  return result.rows.map(({ outcome, ...row }): StoreOutcome => {
    if (outcome === 'stored') return { kind: 'stored' };
    if (outcome === 'existing') return { kind: 'existing', transaction: toTransaction(row) };
    return { kind: 'stale', nextNonce: BigInt(row.nonce) };
  });
}

type SigningRequests = Parameters<SenderStore['storeLocked']>[1];

/**
 * Signs from the next nonce on, which the caller has locked. A payment that has live bytes needs no nonce, and
 * those behind it are signed again with the one it left: each pass ends at least its first.
 */
async function signLocked(
  db: Queryable,
  key: SenderKey,
  requests: SigningRequests,
  next: bigint,
): Promise<SignedTransaction[]> {
  const guesses = requests.map(({ paymentId, sign }, index) => ({
    paymentId,
    signed: sign(next + BigInt(index)),
  }));
  const outcomes = await storeSigned(db, key, guesses);
  const results = outcomes.map((outcome, index) => {
    if (outcome.kind === 'existing') return outcome.transaction;
    return outcome.kind === 'stored' ? guesses[index]?.signed : undefined;
  });
  const first = outcomes.find(outcome => outcome.kind === 'stale');
  if (!first) return results as SignedTransaction[];
  assert(results[0], 'nobody takes a nonce that is locked');
  const stale = requests.filter((_, index) => results[index] === undefined);
  const again = (await signLocked(db, key, stale, first.nextNonce)).values();
  return results.map(result => result ?? (again.next().value as SignedTransaction));
}

/** Keeps nonces and signed bytes in the directory, where every replica sees them. */
export function createSenderStore(pool: Pool): SenderStore {
  const db: Queryable = pool;
  return {
    async initialise({ network, sender }, mined) {
      const result = await db.query<{ next_nonce: string }>({
        name: 'directory.initialise_sender',
        text: `INSERT INTO directory.evm_sender AS s (network, sender, next_nonce) VALUES ($1, $2, $3)
               ON CONFLICT ON CONSTRAINT evm_sender_pkey
               DO UPDATE SET next_nonce = greatest(s.next_nonce, excluded.next_nonce)
               RETURNING next_nonce`,
        values: [network, sender, mined],
      });
      const [row] = result.rows;
      assert(row, 'an upsert answers its row');
      return BigInt(row.next_nonce);
    },
    store: (key, guesses) => storeSigned(pool, key, guesses),
    storeLocked: (key, requests) =>
      withTransaction(pool, async locked => {
        const { rows } = await locked.query<{ next_nonce: string }>({
          name: 'directory.lock_sender',
          text: `SELECT next_nonce FROM directory.evm_sender
                 WHERE network = $1 AND sender = $2 FOR NO KEY UPDATE`,
          values: [key.network, key.sender],
        });
        assert(rows[0], 'the sender was initialised');
        return signLocked(locked, key, requests, BigInt(rows[0].next_nonce));
      }),
    async replace({ network, sender }, old, signed) {
      const result = await db.query<{ done: boolean }>({
        name: 'directory.replace_signed_transaction',
        text: 'SELECT directory.replace_signed_transaction($1, $2, $3, $4, $5, $6) AS done',
        values: [network, sender, old.nonce, old.hash, signed.hash, signed.raw],
      });
      return result.rows[0]?.done === true;
    },
    async supersede({ network, sender }, { nonce, hash }) {
      await db.query({
        name: 'directory.supersede_transaction',
        text: `UPDATE directory.evm_transaction SET superseded = true
               WHERE network = $1 AND sender = $2 AND nonce = $3 AND hash = $4 AND NOT superseded`,
        values: [network, sender, nonce, hash],
      });
    },
    async closeGap({ network, sender }, mined, limit) {
      const result = await db.query<{ nonce: string }>({
        name: 'directory.close_nonce_gap',
        text: 'SELECT nonce FROM directory.close_nonce_gap($1, $2, $3, $4) AS nonce',
        values: [network, sender, mined, limit],
      });
      return result.rows.map(row => BigInt(row.nonce));
    },
    async fill({ network, sender }, signed) {
      const result = await db.query<{ done: boolean }>({
        name: 'directory.fill_nonce',
        text: 'SELECT directory.fill_nonce($1, $2, $3, $4, $5) AS done',
        values: [network, sender, signed.nonce, signed.hash, signed.raw],
      });
      return result.rows[0]?.done === true;
    },
    async findByPayment(paymentId) {
      const result = await db.query<TransactionRow & { sender: string }>({
        name: 'directory.find_signed_transactions',
        text: `SELECT sender, nonce, hash, raw FROM directory.evm_transaction WHERE payment_id = $1
               ORDER BY superseded, nonce DESC, created_at DESC LIMIT $2`,
        values: [paymentId, MAX_HASHES_PER_PAYMENT],
      });
      return result.rows.map(row => ({ ...toTransaction(row), sender: row.sender }));
    },
    async listLive({ network, sender }, fromNonce, limit) {
      const result = await db.query<TransactionRow>({
        name: 'directory.list_live_transactions',
        text: `SELECT nonce, hash, raw FROM directory.evm_transaction
               WHERE network = $1 AND sender = $2 AND nonce >= $3 AND NOT superseded ORDER BY nonce LIMIT $4`,
        values: [network, sender, fromNonce, limit],
      });
      return result.rows.map(toTransaction);
    },
    async countLive({ network, sender }, fromNonce) {
      // The oldest transaction of a nonce counts, so that a higher fee does not look like progress.
      const result = await db.query<{ count: number; oldest_ms: number }>({
        name: 'directory.count_live_transactions',
        text: `SELECT count(*) FILTER (WHERE NOT superseded)::int AS count,
                 coalesce(extract(epoch FROM now() - min(created_at)) * 1000, 0)::float8 AS oldest_ms
               FROM directory.evm_transaction WHERE network = $1 AND sender = $2 AND nonce >= $3`,
        values: [network, sender, fromNonce],
      });
      const [row] = result.rows;
      assert(row, 'an aggregate answers one row');
      return { count: row.count, oldestMs: Math.max(row.oldest_ms, 0) };
    },
  };
}
