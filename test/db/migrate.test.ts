import { execFile } from 'node:child_process';
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { Client } from 'pg';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { emptyDatabase, type MigrateOptions, migrate, readMigrationState } from '../../src/db/migrate.ts';
import { MIGRATIONS_ROOT } from '../../src/db/migration-files.ts';
import { cellName, DEFAULT_CELL } from '../../src/db/queryable.ts';
import { cliProgram } from '../support/cli.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';

const run = promisify(execFile);

const SAME = { missing: [], changed: [], late: [], gone: [] };

let database: TestDatabase;
let root: string;
let options: MigrateOptions;

/** A database that was migrated from a copy of the files, which a test may then change. */
beforeEach(async () => {
  database = await createTestDatabase();
  root = await mkdtemp(path.join(tmpdir(), 'migrations-'));
  await cp(MIGRATIONS_ROOT, root, { recursive: true });
  options = { databaseUrl: database.databaseUrl, cells: [DEFAULT_CELL, cellName('cell_1')], root };
  await emptyDatabase(options);
});

afterEach(async () => {
  await database.drop();
  await rm(root, { recursive: true, force: true });
});

const cellFile = (name: string) => path.join(root, 'cell', `${name}.sql`);

async function execute(statement: string): Promise<void> {
  const client = new Client({ connectionString: database.databaseUrl });
  await client.connect();
  try {
    await client.query(statement);
  } finally {
    await client.end();
  }
}

async function edit(name: string, change: (text: string) => string): Promise<void> {
  await writeFile(cellFile(name), change(await readFile(cellFile(name), 'utf8')));
}

describe('migrations', () => {
  it('run once, and other line ends are the same text', async () => {
    expect(await readMigrationState(options)).toEqual(SAME);
    expect(await migrate(options)).toEqual([]);
    await edit('0003_ledger_grants', text => text.replaceAll('\n', '\r\n'));
    expect(await readMigrationState(options)).toEqual(SAME);
  });

  it('tell in every schema that a text was changed after it ran, and then run nothing', async () => {
    await edit('0003_ledger_grants', text => `${text}\n-- an afterthought`);
    await writeFile(cellFile('9000_later'), 'CREATE TABLE later (account_id bigint PRIMARY KEY);');
    const changed = ['cell_0/0003_ledger_grants', 'cell_1/0003_ledger_grants'];
    const missing = ['cell_0/9000_later', 'cell_1/9000_later'];
    expect(await readMigrationState(options)).toEqual({ ...SAME, changed, missing });
    await expect(migrate(options)).rejects.toThrow(
      'migrations/cell/0003_ledger_grants.sql is not the text that ran in schema cell_0',
    );
    expect((await readMigrationState(options)).missing).toEqual(missing);
  });

  it('tell of one that came too late, and of one that this program does not have', async () => {
    await writeFile(cellFile('9000_later'), 'SELECT 1;');
    await migrate(options);
    await rm(cellFile('9000_later'));
    await writeFile(cellFile('8999_sooner'), 'SELECT 1;');
    expect(await readMigrationState(options)).toEqual({
      ...SAME,
      late: ['cell_0/8999_sooner', 'cell_1/8999_sooner'],
      gone: ['cell_0/9000_later', 'cell_1/9000_later'],
    });
    await expect(migrate(options)).rejects.toThrow('8999_sooner.sql has not run in schema cell_0');
  });

  it('count as changed when they ran before texts were recorded', async () => {
    await execute('DROP TABLE cell_1.migration_checksum');
    const { changed } = await readMigrationState(options);
    expect(changed).toContain('cell_1/0001_ledger_tables');
    expect(changed.every(name => name.startsWith('cell_1/'))).toBe(true);
  });

  it('may be corrected as long as they have not run', async () => {
    await writeFile(cellFile('9000_later'), 'SELECT no_such_column;');
    await expect(migrate(options)).rejects.toThrow('no_such_column');
    await writeFile(cellFile('9000_later'), 'SELECT 1;');
    expect(await migrate(options)).toEqual(['cell_0/9000_later', 'cell_1/9000_later']);
    expect(await readMigrationState(options)).toEqual(SAME);
  });
});

describe('a database that other files have migrated', () => {
  const SENTENCE = 'migrations/cell/0004_ledger_apply.sql is not the text that ran in schema cell_0';
  const SETTINGS = {
    PUBLIC_ORIGIN: 'http://127.0.0.1:4020',
    EVM_PAY_TO: `0x${'1'.repeat(40)}`,
    EVM_PRIVATE_KEY: `0x${'1'.repeat(64)}`,
    BASE_RPC_URL: 'http://127.0.0.1:9',
    LOG_LEVEL: 'silent',
  };

  it.each([
    { args: ['migrate', '--check'], code: 1, stream: 'stdout' as const },
    { args: ['migrate'], code: 2, stream: 'stderr' as const },
    { args: ['serve'], code: 2, stream: 'stderr' as const },
  ])('is refused by $args in a sentence', async ({ args, code, stream }) => {
    await execute("UPDATE cell_0.migration_checksum SET sha256 = 'another' WHERE name = '0004_ledger_apply'");
    const env = { PATH: process.env['PATH'], DATABASE_URL: database.databaseUrl, ...SETTINGS };
    const failure = await run(process.execPath, [cliProgram(), ...args], { env }).catch(
      (error: { code: number; stdout: string; stderr: string }) => error,
    );
    expect(failure).toMatchObject({ code, [stream]: expect.stringContaining(SENTENCE) });
    expect(failure[stream]).not.toContain('    at ');
  });

  it('is refused by serve while a migration has yet to run', async () => {
    await execute('DELETE FROM cell_0.migration WHERE name = (SELECT max(name) FROM cell_0.migration)');
    const env = { PATH: process.env['PATH'], DATABASE_URL: database.databaseUrl, ...SETTINGS };
    await expect(run(process.execPath, [cliProgram(), 'serve'], { env })).rejects.toMatchObject({
      code: 2,
      stderr: expect.stringMatching(/has not run in schema cell_0: topup-gateway migrate/),
    });
  });
});
