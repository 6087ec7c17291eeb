import type { Queryable } from '../db/queryable.ts';
import { shareStatements } from '../db/shared-statements.ts';
import { assert } from '../lib/assert.ts';
import type { SvmSenderStore, SvmSignedTransaction } from '../ports/svm-sender-store.ts';

interface NewTransaction extends SvmSignedTransaction {
  paymentId: string;
  network: string;
  feePayer: string;
}

/** @returns what is stored for each payment, in their order: this, or what was there before */
async function storeTransactions(
  db: Queryable,
  transactions: readonly NewTransaction[],
): Promise<SvmSignedTransaction[]> {
  const { rows } = await db.query<SvmSignedTransaction & { payment_id: string }>({
    name: 'directory.store_svm_transactions',
    // The update changes nothing; it makes the statement answer the row that was there before. One row for each payment,
    // because a statement cannot meet its own, and in one order, so that two such statements never wait in a circle.
    text: `INSERT INTO directory.svm_transaction AS t (payment_id, network, fee_payer, signature, wire)
           SELECT DISTINCT ON (payment_id) payment_id, network, fee_payer, signature, wire
           FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[])
             AS n (payment_id, network, fee_payer, signature, wire)
           ORDER BY payment_id
           ON CONFLICT ON CONSTRAINT svm_transaction_pkey DO UPDATE SET finished = t.finished
           RETURNING payment_id, signature, wire`,
    values: [
      transactions.map(({ paymentId }) => paymentId),
      transactions.map(({ network }) => network),
      transactions.map(({ feePayer }) => feePayer),
      transactions.map(({ signature }) => signature),
      transactions.map(({ wire }) => wire),
    ],
  });
  const stored = new Map(rows.map(({ payment_id, ...transaction }) => [payment_id, transaction]));
  return transactions.map(({ paymentId }) => {
    const row = stored.get(paymentId);
    assert(row, 'an upsert answers its row');
    return row;
  });
}

/** Keeps the transactions that we signed on Solana in the directory, where every replica sees them. */
export function createSvmSenderStore(db: Queryable): SvmSenderStore {
  const store = shareStatements((all: readonly NewTransaction[]) => storeTransactions(db, all));
  return {
    store: (owner, paymentId, transaction) => store({ ...owner, ...transaction, paymentId }),
    async find(paymentId) {
      const { rows } = await db.query<SvmSignedTransaction>({
        name: 'directory.find_svm_transaction',
        text: 'SELECT signature, wire FROM directory.svm_transaction WHERE payment_id = $1',
        values: [paymentId],
      });
      return rows[0];
    },
    async listLive(network, { limit, skip }) {
      const { rows } = await db.query<SvmSignedTransaction & { age_ms: number }>({
        name: 'directory.list_live_svm_transactions',
        text: `SELECT signature, wire, (extract(epoch FROM now() - created_at) * 1000)::float8 AS age_ms
               FROM directory.svm_transaction
               WHERE network = $1 AND NOT finished
               ORDER BY created_at, signature LIMIT $2 OFFSET $3`,
        values: [network, limit, skip],
      });
      return rows.map(({ signature, wire, age_ms }) => ({ signature, wire, ageMs: age_ms }));
    },
    async countLive({ network, feePayer }) {
      const { rows } = await db.query<{ count: number }>({
        name: 'directory.count_live_svm_transactions',
        text: `SELECT count(*)::int AS count FROM directory.svm_transaction
               WHERE network = $1 AND fee_payer = $2 AND NOT finished`,
        values: [network, feePayer],
      });
      return rows[0]?.count ?? 0;
    },
    async finish(network, signatures) {
      await db.query({
        name: 'directory.finish_svm_transactions',
        text: `UPDATE directory.svm_transaction SET finished = true
               WHERE network = $1 AND signature = ANY($2::text[]) AND NOT finished`,
        values: [network, signatures],
      });
    },
  };
}
