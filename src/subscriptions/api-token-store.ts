import type { CellName, Queryable } from '../db/queryable.ts';

/** A short-lived token as its key's owner may see it. */
export interface ApiToken {
  tokenId: string;
  requestLimit: number;
  /** Requests that it is still good for. */
  remaining: number;
  expiresAt: Date;
}

/** Whose tokens, and made by which key. */
export interface TokenOwner {
  cell: CellName;
  accountId: bigint;
  keyId: string;
}

interface TokenRow {
  token_id: string;
  request_limit: number;
  remaining: number;
  expires_at: Date;
}

const COLUMNS = 'token_id, request_limit, remaining, expires_at';

const toToken = (row: TokenRow): ApiToken => ({
  tokenId: row.token_id,
  requestLimit: row.request_limit,
  remaining: row.remaining,
  expiresAt: row.expires_at,
});

/** Stores new tokens of one key. @returns false when it would have more than `most` good ones; then none is stored */
export async function storeTokens(
  db: Queryable,
  { cell, accountId, keyId }: TokenOwner,
  order: { tokenIds: readonly string[]; requestLimit: number; expiresAt: Date; now: Date; most: number },
): Promise<boolean> {
  const { tokenIds, requestLimit, expiresAt, now, most } = order;
  const result = await db.query({
    name: `${cell}.store_api_tokens`,
    text: `INSERT INTO "${cell}".api_token (account_id, token_id, key_id, request_limit, remaining, created_at, expires_at)
           SELECT $1, id, $2, $4, $4, $5, $6 FROM unnest($3::uuid[]) id
           WHERE (SELECT count(*) FROM "${cell}".api_token WHERE account_id = $1 AND key_id = $2 AND expires_at > $5
                    AND revoked_at IS NULL) + cardinality($3::uuid[]) <= $7::int`,
    values: [accountId, keyId, tokenIds, requestLimit, now, expiresAt, most],
  });
  return result.rowCount === tokenIds.length;
}

/** The tokens of a key that are good now, newest first. */
export async function listTokens(
  db: Queryable,
  { cell, accountId, keyId }: TokenOwner,
  page: { now: Date; limit: number },
): Promise<ApiToken[]> {
  const { rows } = await db.query<TokenRow>({
    name: `${cell}.list_api_tokens`,
    text: `SELECT ${COLUMNS} FROM "${cell}".api_token
           WHERE account_id = $1 AND key_id = $2 AND expires_at > $3 AND revoked_at IS NULL
           ORDER BY token_id DESC LIMIT $4`,
    values: [accountId, keyId, page.now, page.limit],
  });
  return rows.map(toToken);
}

/** A token of a key that has neither ended nor been revoked; its requests may be used up. */
export async function findToken(
  db: Queryable,
  { cell, accountId, keyId }: TokenOwner,
  { tokenId, now }: { tokenId: string; now: Date },
): Promise<ApiToken | undefined> {
  const { rows } = await db.query<TokenRow>({
    name: `${cell}.find_api_token`,
    text: `SELECT ${COLUMNS} FROM "${cell}".api_token
           WHERE account_id = $1 AND key_id = $2 AND token_id = $3 AND expires_at > $4 AND revoked_at IS NULL`,
    values: [accountId, keyId, tokenId, now],
  });
  return rows[0] && toToken(rows[0]);
}

/**
 * Takes one request from a token, under its row's lock: calls at once never take more than there are.
 * @returns undefined when there is nothing to take
 */
export async function takeRequest(
  db: Queryable,
  { cell, accountId, keyId }: TokenOwner,
  { tokenId, now }: { tokenId: string; now: Date },
): Promise<ApiToken | undefined> {
  const { rows } = await db.query<TokenRow>({
    name: `${cell}.take_api_token_request`,
    text: `UPDATE "${cell}".api_token SET remaining = remaining - 1
           WHERE account_id = $1 AND key_id = $2 AND token_id = $3 AND expires_at > $4 AND revoked_at IS NULL
             AND remaining > 0
           RETURNING ${COLUMNS}`,
    values: [accountId, keyId, tokenId, now],
  });
  return rows[0] && toToken(rows[0]);
}

/** @returns false when the key has no such token, or it was revoked before */
export async function revokeToken(
  db: Queryable,
  { cell, accountId, keyId }: TokenOwner,
  { tokenId, now }: { tokenId: string; now: Date },
): Promise<boolean> {
  const result = await db.query({
    name: `${cell}.revoke_api_token`,
    text: `UPDATE "${cell}".api_token SET revoked_at = $4
           WHERE account_id = $1 AND key_id = $2 AND token_id = $3 AND expires_at > $4 AND revoked_at IS NULL`,
    values: [accountId, keyId, tokenId, now],
  });
  return result.rowCount === 1;
}

const FORGET_BATCH = 1_000;
const MAX_FORGET_BATCHES = 1_000;

/** Deletes tokens that have ended; signed as they are, they are refused without a row. */
export async function forgetExpiredTokens(db: Queryable, cell: CellName, now: Date): Promise<void> {
  for (let batch = 0; batch < MAX_FORGET_BATCHES; batch += 1) {
    const { rowCount } = await db.query({
      name: `${cell}.forget_api_tokens`,
      text: `DELETE FROM "${cell}".api_token WHERE (account_id, token_id) IN (
               SELECT account_id, token_id FROM "${cell}".api_token WHERE expires_at <= $1 LIMIT $2
               FOR UPDATE SKIP LOCKED)`,
      values: [now, FORGET_BATCH],
    });
    if ((rowCount ?? 0) < FORGET_BATCH) return;
  }
}
