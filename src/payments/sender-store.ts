import type { Queryable } from '../db/queryable.ts';
import { assert } from '../lib/assert.ts';
import type { SenderStore, SignedTransaction } from '../ports/sender-store.ts';

interface TransactionRow {
  nonce: string;
  hash: string;
  raw: string;
}

const toTransaction = (row: TransactionRow): SignedTransaction => ({ ...row, nonce: BigInt(row.nonce) });

/** Keeps nonces and signed bytes in the directory, where every replica sees them. */
export function createSenderStore(db: Queryable): SenderStore {
  return {
    async initialise(network, sender, chainNonce) {
      const result = await db.query<{ next_nonce: string }>({
        name: 'directory.initialise_sender',
        text: `INSERT INTO directory.evm_sender AS s (network, sender, next_nonce) VALUES ($1, $2, $3)
               ON CONFLICT ON CONSTRAINT evm_sender_pkey
               DO UPDATE SET next_nonce = greatest(s.next_nonce, excluded.next_nonce)
               RETURNING next_nonce`,
        values: [network, sender, chainNonce],
      });
      const [row] = result.rows;
      assert(row, 'an upsert answers its row');
      return BigInt(row.next_nonce);
    },
    async store(key, signed) {
      const result = await db.query<TransactionRow & { outcome: 'stored' | 'existing' | 'stale' }>({
        name: 'directory.store_signed_transaction',
        text: 'SELECT outcome, nonce, hash, raw FROM directory.store_signed_transaction($1, $2, $3, $4, $5, $6)',
        values: [key.network, key.sender, signed.nonce, signed.hash, signed.raw, key.paymentId],
      });
      const [row] = result.rows;
      assert(row, 'store_signed_transaction answers one row');
      if (row.outcome === 'stored') return { kind: 'stored' };
      if (row.outcome === 'existing') return { kind: 'existing', transaction: toTransaction(row) };
      return { kind: 'stale', nextNonce: BigInt(row.nonce) };
    },
    async findByPayment(paymentId) {
      const result = await db.query<TransactionRow>({
        name: 'directory.find_signed_transaction',
        text: 'SELECT nonce, hash, raw FROM directory.evm_transaction WHERE payment_id = $1',
        values: [paymentId],
      });
      const [row] = result.rows;
      return row && toTransaction(row);
    },
    async listFromNonce(network, sender, nonce, limit) {
      const result = await db.query<TransactionRow>({
        name: 'directory.list_signed_transactions',
        text: `SELECT nonce, hash, raw FROM directory.evm_transaction
               WHERE network = $1 AND sender = $2 AND nonce >= $3 ORDER BY nonce LIMIT $4`,
        values: [network, sender, nonce, limit],
      });
      return result.rows.map(toTransaction);
    },
  };
}
