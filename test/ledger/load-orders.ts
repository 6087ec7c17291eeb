import type { CellName, Queryable } from '../../src/db/queryable.ts';
import { adjust, refund, reverseTransfer, setCreditLine, setFrozen } from '../../src/ledger/corrections.ts';
import { addGrant, voidGrant } from '../../src/ledger/grants.ts';
import type { LedgerResult } from '../../src/ledger/status.ts';
import { newId } from '../../src/lib/ids.ts';

/** An order with an id of its own, ready to be sent as often as its outcome is unknown. */
export interface LoadOrder {
  kind: string;
  id: string;
  send(db: Queryable): Promise<LedgerResult>;
}

/** One of everything that is rare on an account, in the order that each needs, around a debit that is done. */
export function ordersAround(cell: CellName, accountId: bigint, debitId: string): LoadOrder[] {
  const by = { accountId, reason: 'load', actor: 'load' };
  const [given, taken] = [newId(), newId()];
  const grant = (id: string) => ({
    kind: 'grant',
    id,
    send: (db: Queryable) =>
      addGrant(db, cell, { accountId, id, amountNanoUsd: 5n, source: 'promotional', contra: 2 }),
  });
  const order = (kind: string, send: (db: Queryable, id: string) => Promise<LedgerResult>): LoadOrder => {
    const id = newId();
    return { kind, id, send: db => send(db, id) };
  };
  return [
    grant(given),
    order('refund', (db, id) => refund(db, cell, { ...by, id, originalId: debitId, amountNanoUsd: 1n })),
    order('reverse', (db, id) => reverseTransfer(db, cell, { ...by, id, originalId: debitId })),
    order('void', (db, id) => voidGrant(db, cell, { ...by, id, grantId: given })),
    grant(taken),
    order('reverse', (db, id) => reverseTransfer(db, cell, { ...by, id, originalId: taken })),
    order('adjust', (db, id) => adjust(db, cell, { ...by, id, amountNanoUsd: 2n, contra: 6 })),
    order('adjust', (db, id) => adjust(db, cell, { ...by, id, amountNanoUsd: -2n, contra: 6 })),
    order('unfreeze', (db, id) => setFrozen(db, cell, { ...by, id, frozen: false })),
    order('line', (db, id) => setCreditLine(db, cell, { ...by, id, amountNanoUsd: 100n })),
  ];
}
