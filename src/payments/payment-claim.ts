import { violatesForeignKey } from '../db/pg-errors.ts';
import { type CellName, cellName, type Queryable, type Statement } from '../db/queryable.ts';
import { assert } from '../lib/assert.ts';
import { unavailable } from '../lib/errors.ts';
import { newId } from '../lib/ids.ts';
import type { Environment } from '../ports/environment.ts';

/** Who owns a signed payment in the whole deployment. */
export interface PaymentClaim {
  /** True when this call made the claim. */
  claimed: boolean;
  paymentId: string;
  /** Who is credited; absent for a payment that is settled for another seller. */
  accountId: bigint | undefined;
  environment: Environment;
  /** Where the payment is; without an account any cell, and there is no payment. */
  cell: CellName;
}

interface ClaimRow {
  claimed: boolean;
  payment_id: string;
  account_id: string | null;
  environment: Environment;
  cell: string;
}

function toClaim(row: ClaimRow): PaymentClaim {
  return {
    claimed: row.claimed,
    paymentId: row.payment_id,
    accountId: row.account_id === null ? undefined : BigInt(row.account_id),
    environment: row.environment,
    cell: cellName(row.cell),
  };
}

/**
 * Claims a payment for an account; of any number of racing callers exactly one claims.
 * @throws GatewayError `unavailable` when the account went away in between, because its wallet was linked to
 * another: nothing was claimed, and the same payment finds its account when it comes again
 */
export async function claimPayment(
  db: Queryable,
  claim: Omit<PaymentClaim, 'claimed' | 'cell'> & { identity: string; cell?: CellName },
): Promise<PaymentClaim> {
  const { identity, paymentId, accountId, environment, cell } = claim;
  const row = await claimBy<ClaimRow>(db, {
    name: 'directory.claim_payment',
    text: 'SELECT claimed, payment_id, account_id, environment, cell FROM directory.claim_payment($1, $2, $3, $4, $5)',
    values: [identity, paymentId, accountId ?? null, environment, cell ?? null],
  });
  return toClaim(row);
}

/**
 * As {@link claimPayment}, for the customer that a wallet belongs to, who is made when the wallet was never seen.
 * @returns the claim, and that customer's account
 */
export async function claimWalletPayment(
  db: Queryable,
  claim: { identity: string; paymentId: string; environment: Environment; wallet: string },
): Promise<PaymentClaim & { owner: bigint }> {
  const { identity, paymentId, environment, wallet } = claim;
  const row = await claimBy<ClaimRow & { owner: string }>(db, {
    name: 'directory.claim_wallet_payment',
    text: `SELECT claimed, payment_id, account_id, environment, cell, owner
           FROM directory.claim_wallet_payment($1, $2, $3, $4, $5)`,
    values: [identity, paymentId, environment, wallet, newId()],
  });
  return { ...toClaim(row), owner: BigInt(row.owner) };
}

async function claimBy<Row extends ClaimRow>(db: Queryable, statement: Statement): Promise<Row> {
  const { rows } = await db.query<Row>(statement).catch((error: unknown) => {
    throw violatesForeignKey(error) ? unavailable('the account', error) : error;
  });
  const [row] = rows;
  assert(row, 'a claim answers one row');
  return row;
}

export async function findClaim(db: Queryable, identity: string): Promise<PaymentClaim | undefined> {
  const result = await db.query<ClaimRow>({
    name: 'directory.find_payment_claim',
    text: `SELECT false AS claimed, payment_id, account_id, environment, cell
           FROM directory.payment_claim WHERE identity = $1`,
    values: [identity],
  });
  const [row] = result.rows;
  return row && toClaim(row);
}
