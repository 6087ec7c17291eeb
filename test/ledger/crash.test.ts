import { expect, it } from 'vitest';
import { surviveDatabaseKills, surviveProcessKills } from './crash.ts';
import { CELLS, createLedgerDatabase } from './support.ts';

it('loses nothing that was acknowledged when PostgreSQL is killed under load', {
  timeout: 120_000,
}, async () => {
  await expect(surviveDatabaseKills(1, CELLS[1])).resolves.toBeUndefined();
});

it('loses nothing that was acknowledged when the process is killed under load', {
  timeout: 60_000,
}, async () => {
  const database = await createLedgerDatabase();
  try {
    await expect(
      surviveProcessKills(database.databaseUrl, database.pool, 1, CELLS[1]),
    ).resolves.toBeUndefined();
  } finally {
    await database.close();
  }
});
