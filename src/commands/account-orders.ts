import { parseArgs } from 'node:util';
import type { Queryable } from '../db/queryable.ts';
import { CONTRA } from '../ledger/chart.ts';
import { adjust, type Order, refund, setCreditLine, setFrozen } from '../ledger/corrections.ts';
import { voidGrant } from '../ledger/grants.ts';
import { isId, isText, MAX_ACTOR, MAX_REASON } from '../ledger/malformed.ts';
import type { LedgerResult, LedgerStatus } from '../ledger/status.ts';
import { isDone } from '../ledger/status.ts';
import { newId } from '../lib/ids.ts';
import { formatUsd, parseUsd } from '../lib/money.ts';
import type { AccountOwner } from './account-owner.ts';
import { EXIT, print, table } from './output.ts';

export const ORDERS_USAGE = `       topup-gateway accounts freeze|unfreeze <account> <signed>
       topup-gateway accounts credit-line <account> <USD> <signed>
       topup-gateway accounts adjust <account> give|take <USD> [--against suspense] <signed>
       topup-gateway accounts refund <account> <transfer> <USD> <signed>
       topup-gateway accounts void-grant <account> <grant> <signed>

<signed> is --actor <who> --reason <why>, and --id <UUID> to repeat an order whose outcome is not known: it is done
once. Transfers and grants have the ids that show prints. --against names the other side of an adjustment: suspense,
granted, expired, uncollected, refundsDue, revenue or plans.
`;

/** What to do with an account, read and checked; only the account itself is left to be found. */
export interface AccountOrder {
  /** As the caller wrote it. */
  account: string;
  id: string;
  carryOut(db: Queryable, owner: AccountOwner): Promise<LedgerResult>;
}

type Call = (db: Queryable, owner: AccountOwner, order: Order) => Promise<LedgerResult>;

const SENTENCES: Partial<Record<LedgerStatus, string>> = {
  insufficient: 'the account does not have so much that is not held',
  unknown_account: 'this account was never opened: nothing has been paid into it',
  unknown_grant: 'the account has no such grant',
  unknown_transfer: 'the account has no such transfer in its log',
  not_reversible: 'only a debit or a capture can be refunded',
  exceeds_original: 'that is more than is left of the transfer',
  conflict: 'the id stands for another order',
  id_out_of_range: 'the id is too old or too new for the log',
  invalid_amount: 'the account cannot hold so much',
};

/** @returns undefined when the call is none of these, or not as it must be */
export function readAccountOrder(args: readonly string[]): AccountOrder | undefined {
  const text = { type: 'string' } as const;
  let parsed: { values: Record<string, string | boolean | undefined>; positionals: string[] };
  try {
    parsed = parseArgs({
      args: [...args],
      allowPositionals: true,
      options: { actor: text, reason: text, id: text, against: text, json: { type: 'boolean' } },
    });
  } catch {
    return undefined;
  }
  const { actor, reason, against = 'suspense', id = newId() } = parsed.values;
  const [command = '', account = '', ...rest] = parsed.positionals;
  const lowered = typeof id === 'string' ? id.toLowerCase() : '';
  if (account === '') return undefined;
  if (!isText(actor, MAX_ACTOR) || !isText(reason, MAX_REASON) || !isId(lowered)) return undefined;
  if (command !== 'adjust' && parsed.values['against'] !== undefined) return undefined;
  const call = readCall(command, rest, String(against));
  return (
    call && {
      account,
      id: lowered,
      carryOut: (db, owner) => call(db, owner, { accountId: owner.accountId, id: lowered, actor, reason }),
    }
  );
}

function readCall(command: string, rest: readonly string[], against: string): Call | undefined {
  const [first = '', second = ''] = rest;
  switch (`${command} ${rest.length}`) {
    case 'freeze 0':
    case 'unfreeze 0':
      return (db, { cell }, order) => setFrozen(db, cell, { ...order, frozen: command === 'freeze' });
    case 'credit-line 1': {
      const amountNanoUsd = parseUsd(first);
      if (amountNanoUsd === undefined) return undefined;
      return (db, { cell }, order) => setCreditLine(db, cell, { ...order, amountNanoUsd });
    }
    case 'adjust 2': {
      const amount = parseUsd(second);
      const isOurs = against !== 'none' && Object.hasOwn(CONTRA, against);
      if (!amount || !isOurs || !['give', 'take'].includes(first)) return undefined;
      const amountNanoUsd = first === 'give' ? amount : -amount;
      const contra = CONTRA[against as keyof typeof CONTRA];
      return (db, { cell }, order) => adjust(db, cell, { ...order, amountNanoUsd, contra });
    }
    case 'refund 2': {
      const [originalId, amountNanoUsd] = [first.toLowerCase(), parseUsd(second)];
      if (!amountNanoUsd || !isId(originalId)) return undefined;
      return (db, { cell }, order) => refund(db, cell, { ...order, originalId, amountNanoUsd });
    }
    case 'void-grant 1': {
      const grantId = first.toLowerCase();
      return isId(grantId) ? (db, { cell }, order) => voidGrant(db, cell, { ...order, grantId }) : undefined;
    }
    default:
      return undefined;
  }
}

/** Carries an order out and says what came of it. @returns the exit code */
export async function carryOut(
  db: Queryable,
  args: readonly string[],
  order: AccountOrder,
  owner: AccountOwner,
): Promise<number> {
  const result = await order.carryOut(db, owner).catch((error: unknown) => {
    // The same order is safe to give again, under the same id alone.
    process.stderr.write(`it is not known whether this was done: repeat it with --id ${order.id}\n`);
    throw error;
  });
  const { status } = result;
  if (!isDone(status)) {
    const sentence = SENTENCES[status] ?? status;
    print(args, { outcome: status, id: order.id, reason: sentence }, `not done: ${sentence}`);
    return EXIT.problem;
  }
  const { customerId, accountId, cell } = owner;
  const [availableUsd, postedUsd] = [result.availableNanoUsd, result.postedNanoUsd].map(formatUsd);
  print(
    args,
    { outcome: status, id: order.id, customerId, accountId, cell, availableUsd, postedUsd },
    table(
      ['outcome', 'order', 'account', 'available USD', 'posted USD'],
      [[status, order.id, accountId, availableUsd ?? '', postedUsd ?? '']],
    ),
  );
  return EXIT.good;
}
