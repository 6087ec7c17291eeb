import type { Queryable } from '../db/queryable.ts';
import { assert } from '../lib/assert.ts';
import { newId } from '../lib/ids.ts';
import type { Environment } from '../ports/environment.ts';

/** An order of the operator to credit a customer. */
export interface OperatorCredit {
  /** The operator's name for the order, 1 to 255 printable ASCII characters. */
  idempotencyKey: string;
  customerId: string;
  /** Above zero. */
  amountNanoUsd: bigint;
  /** 1 to 500 characters. */
  reason: string;
  /** Who ordered it, 1 to 200 characters. */
  actor: string;
}

/**
 * Notes an order under its name, once.
 * @returns the id of its booking; undefined when the name stands for another order
 */
export async function claimOperatorCredit(
  db: Queryable,
  order: OperatorCredit & { environment: Environment },
): Promise<string | undefined> {
  const { rows } = await db.query<{ credit_id: string; same: boolean }>({
    name: 'directory.claim_operator_credit',
    // The update changes nothing: it makes the row of whoever was first come back, and wait for it.
    text: `INSERT INTO directory.operator_credit AS c
             (idempotency_key, credit_id, customer_id, environment, amount, reason, actor)
           VALUES ($1, $2, $3, $4, $5, $6, $7)
           ON CONFLICT ON CONSTRAINT operator_credit_pkey DO UPDATE SET idempotency_key = c.idempotency_key
           RETURNING credit_id, (customer_id, amount, reason, actor) = ($3, $5, $6, $7) AS same`,
    values: [
      order.idempotencyKey,
      newId(),
      order.customerId,
      order.environment,
      order.amountNanoUsd,
      order.reason,
      order.actor,
    ],
  });
  const [row] = rows;
  assert(row, 'a claim is a row');
  return row.same ? row.credit_id : undefined;
}
