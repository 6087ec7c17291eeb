import { parseArgs } from 'node:util';
import { createKeyAdmin, type KeyAdmin, type KeyView } from '../accounts/key-admin.ts';
import { KEY_DIALECTS } from '../accounts/key-orders.ts';
import { keyBody } from '../admin/key-orders.ts';
import { requireSetting } from '../config/read.ts';
import { createPool } from '../db/pool.ts';
import { systemClock } from '../lib/clock.ts';
import { GatewayError } from '../lib/errors.ts';
import { EXIT, print, table } from './output.ts';

const USAGE = `usage: topup-gateway keys create --dialect <dialect> --actor <who> [options]
       topup-gateway keys list [--customer <id> | --wallet <wallet>] [--dialect <dialect>] [--environment <environment>]
                               [--usable] [--limit <n>] [--before <key id>]
       topup-gateway keys revoke <key id> --actor <who>

  --dialect <dialect>           ${KEY_DIALECTS.join(', ')}
  --actor <who>                 who asks for it; kept with the key
  --customer <id>               whose key; without it and without --wallet, that of a new customer without credit
  --wallet <wallet>             the same by a CAIP-10 account id, e.g. eip155:8453:0x19e7…
  --environment <environment>   live (default) or test; staging is read as test
  --expires <time>              when it ends, e.g. 2027-12-31T23:59:59Z; never without
  --cap <USD>                   what it may spend in a calendar month
  --allow <address>             address or CIDR that may use it, may be repeated; anybody without
  --usable                      leave out what has expired or was revoked
  --limit <n>                   at most so many keys (default 50), newest first
  --json                        JSON on standard output, also on a terminal

A key is shown once, when it is made. A revoked key is refused by every process within a second.
exit codes: 0 done, 1 there is no such key, customer or wallet, 2 the call is wrong
`;

/** `topup-gateway keys create|list|revoke`: API keys of every dialect. */
export async function keys(args: string[]): Promise<void> {
  if (args.includes('--help')) {
    process.stdout.write(USAGE);
    return;
  }
  const run = readCall(args);
  if (!run) {
    process.stderr.write(USAGE);
    process.exitCode = EXIT.usage;
    return;
  }
  const pool = createPool({
    databaseUrl: requireSetting('DATABASE_URL', process.env),
    maxConnections: 1,
    onError: () => undefined,
  });
  try {
    await run(createKeyAdmin({ db: pool, clock: systemClock }));
    process.exitCode = EXIT.good;
  } catch (error) {
    if (!(error instanceof GatewayError) || error.code === 'unavailable') throw error;
    print(args, { outcome: 'refused', reason: error.message }, `nothing was changed: ${error.message}`);
    process.exitCode = error.code === 'malformed_request' ? EXIT.usage : EXIT.problem;
  } finally {
    await pool.end();
  }
}

type Run = (admin: KeyAdmin) => Promise<void>;

/** @returns what to do, or undefined when the call is wrong */
function readCall(args: string[]): Run | undefined {
  let parsed: ReturnType<typeof parseOptions>;
  try {
    parsed = parseOptions(args);
  } catch {
    return undefined;
  }
  const { values, positionals } = parsed;
  const [verb, keyId, ...others] = positionals;
  const { customer: customerId, wallet, dialect, environment, actor } = values;
  if (verb === 'create' && keyId === undefined && dialect !== undefined && actor !== undefined) {
    const { expires: expiresAt, cap: capUsd, allow: allowedAddresses } = values;
    const order = { dialect, customerId, wallet, environment, expiresAt, capUsd, allowedAddresses, actor };
    return async admin => printMade(args, await admin.create(order));
  }
  if (verb === 'list' && keyId === undefined && /^[1-9]\d?$/.test(values.limit ?? '50')) {
    const { usable, before, limit = '50' } = values;
    const query = { customerId, wallet, dialect, environment, usable, before, limit: Number(limit) };
    return async admin => printList(args, await admin.list(query));
  }
  if (verb === 'revoke' && keyId !== undefined && others.length === 0 && actor !== undefined) {
    return async admin => printRevoked(args, await admin.revoke({ keyId, actor }));
  }
  return undefined;
}

function parseOptions(args: string[]) {
  const text = { type: 'string' } as const;
  const flag = { type: 'boolean' } as const;
  return parseArgs({
    args,
    allowPositionals: true,
    options: {
      dialect: text,
      customer: text,
      wallet: text,
      environment: text,
      expires: text,
      cap: text,
      allow: { type: 'string', multiple: true },
      actor: text,
      usable: flag,
      limit: text,
      before: text,
      json: flag,
    },
  });
}

function printMade(args: string[], { apiKey, ...key }: KeyView & { apiKey: string }): void {
  print(args, { apiKey, ...keyBody(key) }, `${apiKey}\nThis key is not shown again.\n\n${listOf([key])}`);
}

function printList(args: string[], page: { keys: KeyView[]; hasMore: boolean }): void {
  const last = page.keys.at(-1);
  const more = page.hasMore && last ? `\nmore: --before ${last.keyId}` : '';
  const text = page.keys.length > 0 ? `${listOf(page.keys)}${more}` : 'there are no such keys';
  print(args, { keys: page.keys.map(keyBody), hasMore: page.hasMore }, text);
}

function printRevoked(args: string[], { changed, key }: { changed: boolean; key: KeyView }): void {
  const words = changed ? 'revoked' : 'revoked before, nothing was changed';
  print(args, { changed, ...keyBody(key) }, `${words}\n\n${listOf([key])}`);
}

function listOf(list: readonly KeyView[]): string {
  return table(
    [
      'key',
      'ends in',
      'dialect',
      'environment',
      'state',
      'customer',
      'USD a month',
      'from',
      'made',
      'expires',
      'by',
    ],
    list
      .map(keyBody)
      .map(key => [
        key.keyId,
        key.lastFour,
        key.dialect,
        key.environment,
        key.state,
        key.customerId,
        key.capUsd,
        key.allowedAddresses.join(' '),
        key.createdAt,
        key.expiresAt,
        [key.createdBy, key.revokedBy && `revoked by ${key.revokedBy}`].filter(Boolean).join(', '),
      ]),
  );
}
