import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Client } from 'pg';
import type { TestProject } from 'vitest/node';
import { ensureClients } from '../../scripts/clients.ts';
import { findEvmNetwork } from '../../src/chains/evm-networks.ts';
import { migrate } from '../../src/db/migrate.ts';
import { DEFAULT_CELL } from '../../src/db/queryable.ts';
import { startLocalEvmChain } from '../../src/local/evm-chain.ts';
import { startLocalPostgres } from '../../src/local/postgres.ts';
import { buildPrograms } from './programs.ts';

declare module 'vitest' {
  export interface ProvidedContext {
    /** A database server on which every test file gets databases of its own. */
    adminDatabaseUrl: string;
    templateDatabase: string;
    /** One local Base chain for all files; each uses its own wallets. */
    rpcUrl: string;
    /** Folder of the programs that tests start as processes of their own. */
    programs: string;
  }
}

/** Starts what the tests need once: a database server with a migrated template, and a local chain. */
export default async function setup(project: TestProject) {
  // Here and not where they are used: two test files at once must not both install them.
  await ensureClients();
  const programs = await buildPrograms();
  const folder = await mkdtemp(path.join(tmpdir(), 'topup-gateway-test-'));
  // As root the database server runs as somebody else, who must be able to enter.
  await chmod(folder, 0o755);
  const server = await startDatabaseServer(folder);
  const templateDatabase = `template_${process.pid}`;
  await runAsAdmin(server.databaseUrl, `CREATE DATABASE ${templateDatabase}`);
  const templateUrl = new URL(server.databaseUrl);
  templateUrl.pathname = `/${templateDatabase}`;
  await migrate({ databaseUrl: templateUrl.href, cells: [DEFAULT_CELL] });

  const base = findEvmNetwork('eip155:8453');
  if (!base) throw new Error('Base is not in the table of networks');
  const chain = await startLocalEvmChain({ chainId: base.chainId, token: base.usdc, log: () => undefined });

  project.provide('adminDatabaseUrl', server.databaseUrl);
  project.provide('templateDatabase', templateDatabase);
  project.provide('rpcUrl', chain.rpcUrl);
  project.provide('programs', programs.folder);
  return async () => {
    await programs.remove();
    await chain.stop();
    await runAsAdmin(server.databaseUrl, `DROP DATABASE IF EXISTS ${templateDatabase} WITH (FORCE)`);
    await server.stop();
    await rm(folder, { recursive: true, force: true });
  };
}

async function startDatabaseServer(folder: string): Promise<{ databaseUrl: string; stop(): Promise<void> }> {
  const given = process.env['TEST_DATABASE_URL'];
  if (given) {
    console.log('tests use the database server of TEST_DATABASE_URL');
    return { databaseUrl: given, stop: () => Promise.resolve() };
  }
  console.log('tests use an embedded PostgreSQL');
  return startLocalPostgres({ dataDir: folder, fsync: false, log: line => console.log(line) });
}

async function runAsAdmin(databaseUrl: string, statement: string): Promise<void> {
  const client = new Client({ connectionString: databaseUrl });
  await client.connect();
  try {
    await client.query(statement);
  } finally {
    await client.end();
  }
}
