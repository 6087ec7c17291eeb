import { afterAll, beforeAll, describe, it } from 'vitest';
import { expectLinearizable } from './linearizability.ts';
import { expectModelAgrees } from './model-property.ts';
import { CELLS, createLedgerDatabase, type LedgerDatabase } from './support.ts';

const SEED = Number(process.env['FC_SEED'] ?? 20_260_101);

let database: LedgerDatabase;

beforeAll(async () => {
  database = await createLedgerDatabase(8);
});

afterAll(() => database.close());

describe.each(CELLS)('%s', cell => {
  it(`agrees with the model over 150 random histories (seed ${SEED})`, { timeout: 120_000 }, async () => {
    await expectModelAgrees(database.pool, cell, { seed: SEED, runs: 150 });
  });

  it(`is linearizable per account under concurrency (seed ${SEED})`, { timeout: 120_000 }, async () => {
    await expectLinearizable(database.pool, cell, { seed: SEED, runs: 150 });
  });
});
