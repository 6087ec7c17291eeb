#!/usr/bin/env node
import { ConfigError } from './config.ts';

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
    about: '--ledger: prove that the books are in order (exit 1 when not)',
    run: async () => (await import('./commands/ledger.ts')).reconcile,
  },
  ledger: {
    about: 'verify: recompute the sealed hash chain (exit 1 when a row was changed later)',
    run: async () => (await import('./commands/ledger.ts')).ledger,
  },
  openapi: {
    about: 'write the OpenAPI document to standard output',
    run: async () => (await import('./commands/openapi.ts')).openapi,
  },
};

function help(): string {
  const rows = Object.entries(COMMANDS).map(([name, { about }]) => `  ${name.padEnd(10)} ${about}`);
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
    const text =
      error instanceof ConfigError ? error.message : error instanceof Error ? error.stack : String(error);
    process.stderr.write(`${text}\n`);
    process.exitCode = error instanceof ConfigError ? 2 : 1;
  }
}
