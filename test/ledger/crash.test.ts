import { expect, it } from 'vitest';
import { surviveDatabaseKills, surviveProcessKills } from './crash.ts';
import { CELLS, createLedgerDatabase } from './support.ts';

it.each(CELLS)(
  '%s loses nothing that was acknowledged when PostgreSQL is killed under load',
  { timeout: 120_000 },
  async cell => {
    await expect(surviveDatabaseKills(1, cell)).resolves.toBeUndefined();
  },
);

it.each(CELLS)(
  '%s loses nothing that was acknowledged when the process is killed under load',
  { timeout: 60_000 },
  async cell => {
    const { databaseUrl, pool, close } = await createLedgerDatabase();
    try {
      await expect(surviveProcessKills(databaseUrl, pool, 1, cell)).resolves.toBeUndefined();
    } finally {
      await close();
    }
  },
);
