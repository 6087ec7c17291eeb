#!/usr/bin/env node
import { ConfigError } from './config/read.ts';

/** Each command loads only what it needs, so that `--help` and `openapi` start at once. */
const COMMANDS: Record<string, { about: string; run: () => Promise<(args: string[]) => Promise<void>> }> = {
  serve: {
    about: 'production server; settings come from the environment',
    run: async () => (await import('./commands/serve.ts')).serve,
  },
  dev: {
    about: 'sandbox: PostgreSQL, local chains and the gateway, nothing to configure',
    run: async () => (await import('./commands/dev.ts')).dev,
  },
  migrate: {
    about: 'bring the database to this version (--check: only say what is missing, exit 1)',
    run: async () => (await import('./commands/migrate.ts')).migrateCommand,
  },
  reconcile: {
    about: 'compare chain and books (--dry-run: change nothing; --ledger: prove the books alone)',
    run: async () => (await import('./commands/reconcile.ts')).reconcile,
  },
  doctor: {
    about: 'check database, nodes, gas and facilitators against the settings (exit 1 names what to change)',
    run: async () => (await import('./commands/doctor.ts')).doctor,
  },
  facilitators: {
    about: 'which are used and which are not trusted; facilitators trust <name> puts one back',
    run: async () => (await import('./commands/facilitators.ts')).facilitators,
  },
  ledger: {
    about:
      'verify: recompute the sealed hash chains (exit 1 when a row was changed); detach <month> from the log',
    run: async () => (await import('./commands/ledger.ts')).ledger,
  },
  accounts: {
    about:
      'show an account, link two wallets to one; freeze, unfreeze, credit-line, adjust, refund, void-grant',
    run: async () => (await import('./commands/accounts.ts')).accounts,
  },
  keys: {
    about: 'create, list or revoke API keys of any dialect (keys --help)',
    run: async () => (await import('./commands/keys.ts')).keys,
  },
  topup: {
    about: 'pay a seller from your wallet: --dialect venice|dria --amount 10 --url https://… (topup --help)',
    run: async () => (await import('./commands/topup.ts')).topup,
  },
  openapi: {
    about: 'write the OpenAPI document to standard output',
    run: async () => (await import('./commands/openapi.ts')).openapi,
  },
};

function help(): string {
  const rows = Object.entries(COMMANDS).map(([name, { about }]) => `  ${name.padEnd(12)} ${about}`);
  return `usage: topup-gateway <command>\n\n${rows.join('\n')}\n`;
}

const [name = '', ...args] = process.argv.slice(2);
const command = COMMANDS[name];
if (!command) {
  process.stdout.write(help());
  process.exitCode = ['', 'help', '--help', '-h'].includes(name) ? 0 : 2;
} else {
  try {
    await (await command.run())(args);
  } catch (error) {
    process.stderr.write(`${describe(error)}\n`);
    // Said and done: what was started already (a database, chains) ends with this process.
    process.exit(error instanceof ConfigError ? 2 : 1);
  }
}

/** A stack trace helps with our mistakes, not with a port that is taken or a folder that is closed. */
function describe(error: unknown): string {
  if (error instanceof ConfigError) return error.message;
  if (!(error instanceof Error)) return String(error);
  const { code, port } = error as { code?: unknown; port?: unknown };
  if (code === 'EADDRINUSE') return `port ${String(port)} is taken: choose another with PORT`;
  if (code === 'ECONNREFUSED') return `nobody answers there (${error.message}): is DATABASE_URL right?`;
  return typeof code === 'string' ? error.message : (error.stack ?? error.message);
}
