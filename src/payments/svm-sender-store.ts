import type { Queryable } from '../db/queryable.ts';
import { assert } from '../lib/assert.ts';
import type { SvmSenderStore, SvmSignedTransaction } from '../ports/svm-sender-store.ts';

/** Keeps the transactions that we signed on Solana in the directory, where every replica sees them. */
export function createSvmSenderStore(db: Queryable): SvmSenderStore {
  return {
    async store({ network, feePayer }, paymentId, { signature, wire }) {
      const { rows } = await db.query<SvmSignedTransaction>({
        name: 'directory.store_svm_transaction',
        // The update changes nothing; it makes the statement answer the row that was there before.
        text: `INSERT INTO directory.svm_transaction AS t (payment_id, network, fee_payer, signature, wire)
               VALUES ($1, $2, $3, $4, $5)
               ON CONFLICT ON CONSTRAINT svm_transaction_pkey DO UPDATE SET finished = t.finished
               RETURNING signature, wire`,
        values: [paymentId, network, feePayer, signature, wire],
      });
      const [row] = rows;
      assert(row, 'an upsert answers its row');
      return row;
    },
    async find(paymentId) {
      const { rows } = await db.query<SvmSignedTransaction>({
        name: 'directory.find_svm_transaction',
        text: 'SELECT signature, wire FROM directory.svm_transaction WHERE payment_id = $1',
        values: [paymentId],
      });
      return rows[0];
    },
    async listLive(network, limit) {
      const { rows } = await db.query<SvmSignedTransaction & { age_ms: number }>({
        name: 'directory.list_live_svm_transactions',
        text: `SELECT signature, wire, (extract(epoch FROM now() - created_at) * 1000)::float8 AS age_ms
               FROM directory.svm_transaction
               WHERE network = $1 AND NOT finished
               ORDER BY created_at LIMIT $2`,
        values: [network, limit],
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
