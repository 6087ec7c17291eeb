import type { Queryable } from '../db/queryable.ts';
import { openAccount } from '../ledger/accounts.ts';
import { readBalance } from '../ledger/balances.ts';
import { assert } from '../lib/assert.ts';
import type { SenderWallet, TopupSender } from './types.ts';

interface LimitsRow {
  alert_below: string | null;
  spent: string | null;
  resets_at: Date;
}

/** What the owner of a key has, and what the key may spend of it this month. */
export async function readSenderWallet(db: Queryable, sender: TopupSender): Promise<SenderWallet> {
  const { cell, accountId } = sender.customer;
  const balance = await readBalance(db, cell, accountId);
  const { rows } = await db.query<LimitsRow>({
    name: `${cell}.read_sender_limits`,
    text: `SELECT (SELECT alert_below FROM "${cell}".account WHERE account_id = $1) AS alert_below,
             (SELECT spent FROM "${cell}".key_spending WHERE key_id = $2 AND month = m.first::date) AS spent,
             (m.first + interval '1 month') AT TIME ZONE 'UTC' AS resets_at
           FROM (SELECT date_trunc('month', clock_timestamp() AT TIME ZONE 'UTC') AS first) m`,
    values: [accountId, sender.keyId],
  });
  const [limits] = rows;
  assert(limits, 'limits are one row');
  return {
    availableNanoUsd: balance?.availableNanoUsd ?? 0n,
    heldNanoUsd: balance?.heldNanoUsd ?? 0n,
    alertBelowNanoUsd: limits.alert_below === null ? undefined : BigInt(limits.alert_below),
    key: {
      keyId: sender.keyId,
      capNanoUsd: sender.spendingCapNanoUsd,
      spentNanoUsd: BigInt(limits.spent ?? '0'),
      resetsAt: limits.resets_at,
    },
  };
}

/** Sets the threshold below which the owner is told, or removes it. */
export async function setBalanceAlert(
  db: Queryable,
  sender: TopupSender,
  belowNanoUsd: bigint | undefined,
): Promise<void> {
  const { cell, accountId } = sender.customer;
  const set = async () => {
    const { rows } = await db.query<{ found: boolean }>({
      name: `${cell}.set_balance_alert`,
      text: `SELECT "${cell}".set_balance_alert($1, $2) AS found`,
      values: [accountId, belowNanoUsd ?? null],
    });
    return rows[0]?.found === true;
  };
  if (await set()) return;
  await openAccount(db, cell, { accountId, environment: sender.environment });
  assert(await set(), 'an opened account is there');
}
