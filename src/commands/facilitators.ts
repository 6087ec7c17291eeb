import { loadConfig } from '../config/config.ts';
import { createPool } from '../db/pool.ts';
import { createFacilitatorStore } from '../payments/facilitator-store.ts';
import type { FacilitatorStore, StoredFacilitator } from '../ports/facilitator-store.ts';
import { EXIT, print, table } from './output.ts';

const USAGE = `usage: topup-gateway facilitators [--json]
       topup-gateway facilitators trust <name>
exit codes: 0 every facilitator in use, 1 one is not trusted or in doubt (or was not marked)
`;

/**
 * `topup-gateway facilitators`: which are used, and which are not because they claimed a settlement that the
 * chain disproves. `trust` puts one back; running gateways see it within seconds.
 */
export async function facilitators(args: string[]): Promise<void> {
  const [verb, name, ...rest] = args.filter(arg => arg !== '--json');
  if (verb !== undefined && (verb !== 'trust' || name === undefined || rest.length > 0)) {
    process.stderr.write(USAGE);
    process.exitCode = EXIT.usage;
    return;
  }
  const config = loadConfig('serve', process.env);
  const pool = createPool({
    databaseUrl: config.databaseUrl,
    maxConnections: 1,
    onError: () => undefined,
  });
  try {
    const store = createFacilitatorStore(pool, config.cells);
    if (name === undefined) await list(args, store, config.facilitators);
    else await trust(args, store, name);
  } finally {
    await pool.end();
  }
}

async function list(args: readonly string[], store: FacilitatorStore, names: readonly string[]) {
  const stored = new Map((await store.list()).map(each => [each.name, each]));
  const doubts = new Map((await store.listDoubts()).map(each => [each.name, each]));
  const found = names.map(name => ({ name, ...describe(stored.get(name)), doubt: doubts.get(name) }));
  const rows = found.map(({ name, trusted, distrust, doubt, supportedAt }) => [
    name,
    trusted ? (doubt ? 'IN DOUBT' : 'in use') : 'NOT TRUSTED',
    distrust
      ? `payment ${distrust.paymentId}: ${distrust.reason}, ${distrust.since.toISOString()}`
      : doubt
        ? `payment ${doubt.paymentId}: said to be settled, not on chain, ${doubt.since.toISOString()}`
        : '',
    supportedAt?.toISOString() ?? '',
  ]);
  print(args, { facilitators: found }, table(['name', 'state', 'why', 'last said what it supports'], rows));
  process.exitCode = found.every(({ trusted, doubt }) => trusted && !doubt) ? EXIT.good : EXIT.problem;
}

function describe(stored: StoredFacilitator | undefined) {
  return {
    trusted: stored?.distrust === undefined,
    distrust: stored?.distrust,
    supportedAt: stored?.supportedAt,
  };
}

async function trust(args: readonly string[], store: FacilitatorStore, name: string): Promise<void> {
  const changed = await store.trust(name);
  print(
    args,
    { name, changed },
    changed ? `${name} is used again` : `${name} was not marked, or is misspelt: nothing was changed`,
  );
  process.exitCode = changed ? EXIT.good : EXIT.problem;
}
