import { violatesForeignKey } from '../db/pg-errors.ts';
import { type CellName, cellName, type Queryable } from '../db/queryable.ts';
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
  const { rows } = await db
    .query<ClaimRow>({
      name: 'directory.claim_payment',
      text: `SELECT claimed, payment_id, account_id, environment, cell
             FROM directory.claim_payment($1, $2, $3, $4, $5)`,
      values: [identity, paymentId, accountId ?? null, environment, cell ?? null],
    })
    .catch((error: unknown) => {
      throw asLostAccount(error);
    });
  const [row] = rows;
  assert(row, 'a claim answers one row');
  return toClaim(row);
}

/** A claim for the customer that a wallet belongs to. */
export interface WalletClaim {
  identity: string;
  paymentId: string;
  environment: Environment;
  /** As `walletIdentity` names it. */
  wallet: string;
}

/**
 * As {@link claimPayment}, for the customers that wallets belong to, who are made when their wallet was never seen. All of
 * them or, with an error, none. Wallet by wallet, so that two such calls do not wait for each other in a circle.
 * @returns the claim of each, in their order, and that customer's account
 * @throws the database's own error, see {@link asLostAccount}
 */
export async function claimWalletPayments(
  db: Queryable,
  claims: readonly WalletClaim[],
): Promise<(PaymentClaim & { owner: bigint })[]> {
  const { rows } = await db.query<ClaimRow & { owner: string }>({
    name: 'directory.claim_wallet_payments',
    text: `SELECT claimed, payment_id, account_id, environment, cell, owner
           FROM directory.claim_wallet_payments($1, $2, $3, $4, $5)`,
    values: [
      claims.map(({ identity }) => identity),
      claims.map(({ paymentId }) => paymentId),
      claims.map(({ environment }) => environment),
      claims.map(({ wallet }) => wallet),
      claims.map(() => newId()),
    ],
  });
  assert(rows.length === claims.length, 'every claim has an answer');
  return rows.map(row => ({ ...toClaim(row), owner: BigInt(row.owner) }));
}

/** The account went away between the two steps of a claim. */
export function asLostAccount(error: unknown): unknown {
  return violatesForeignKey(error) ? unavailable('the account', error) : error;
}

export async function findClaim(db: Queryable, identity: string): Promise<PaymentClaim | undefined> {
  const [claim] = await findClaims(db, [identity]);
  return claim;
}

/** @returns the claim of each identity, in their order; undefined where there is none */
export async function findClaims(
  db: Queryable,
  identities: readonly string[],
): Promise<(PaymentClaim | undefined)[]> {
  const { rows } = await db.query<ClaimRow & { identity: string }>({
    name: 'directory.find_payment_claims',
    text: `SELECT false AS claimed, identity, payment_id, account_id, environment, cell
           FROM directory.payment_claim WHERE identity = ANY ($1)`,
    values: [identities],
  });
  const claims = new Map(rows.map(row => [row.identity, toClaim(row)]));
  return identities.map(identity => claims.get(identity));
}
