import * as fc from 'fast-check';
import type { Pool } from 'pg';
import { expect } from 'vitest';
import type { CellName } from '../../src/db/queryable.ts';
import { verifySeals } from '../../src/ledger/reconcile.ts';
import { sealWindow } from '../../src/ledger/seals.ts';
import { history, outcomes, playHistory } from './history.ts';
import { expectSoundBooks } from './support.ts';

/** Cases that a run must have met: otherwise it has not tested what it claims to. */
const MUST_MEET = [
  ...[
    'debit',
    'hold',
    'capture',
    'release',
    'grant',
    'void',
    'refund',
    'reverse',
    'adjust',
    'freeze',
    'line',
  ].flatMap(kind => [`${kind} applied`, `${kind} replayed`, `${kind} conflict`, `${kind} unknown_account`]),
  'debit insufficient',
  'debit frozen',
  'debit invalid_amount',
  'debit id_out_of_range',
  'hold insufficient',
  'hold frozen',
  'capture exceeds_hold',
  'capture hold_expired',
  'capture insufficient',
  'capture unknown_hold',
  'release hold_expired',
  'renew applied',
  'renew hold_expired',
  'grant invalid_expiry',
  'grant wrong_environment',
  'refund exceeds_original',
  'refund not_reversible',
  'reverse exceeds_original',
  'adjust insufficient',
  'freeze id_out_of_range',
  'line id_out_of_range',
  'void id_out_of_range',
  'log write_off',
  'log recovery',
  'log freeze',
  'log unfreeze',
  'log credit_line',
  'log hold_expired',
  'log grant_expired',
  'log grant_voided',
  'log reversal',
  // Forfeited credit that came back from where it went, and held credit that turned out not to be used.
  'log reversal of forfeited credit',
  'action recover',
];

/** Plays random histories on one cell and compares each with the model; checks the books on the way. */
export async function expectModelAgrees(
  pool: Pool,
  cell: CellName,
  { seed, runs, shrink = true }: { seed: number; runs: number; shrink?: boolean },
): Promise<void> {
  outcomes.clear();
  let played = 0;
  await fc.assert(
    fc.asyncProperty(history, async steps => {
      await playHistory(pool, cell, steps);
      played += 1;
      if (played % 50 === 0) {
        await sealWindow(pool, cell);
        await expectSoundBooks(pool, cell);
      }
    }),
    { seed, numRuns: runs, endOnFailure: !shrink },
  );
  await expectSoundBooks(pool, cell);
  expect((await verifySeals(pool, cell)).breaks).toEqual([]);
  expect(MUST_MEET.filter(outcome => !outcomes.has(outcome))).toEqual([]);
}
