import type { Pool } from 'pg';
import { readMigrationState } from '../db/migrate.ts';
import { describeConflicts, describeMissing } from '../db/migration-files.ts';
import type { CellName } from '../db/queryable.ts';
import type { ReadinessCheck } from '../http/health.ts';
import { withDeadline } from '../lib/deadline.ts';
import type { Chain } from '../ports/chain.ts';
import type { Facilitators } from '../ports/facilitator.ts';
import type { EvmParts } from './evm.ts';
import type { SvmParts } from './svm.ts';
import type { TempoParts } from './tempo.ts';

/** One network as readiness sees it. */
export interface ReadinessNetwork {
  title: string;
  chain: Chain;
  /** Nothing is low where we have no key. */
  readGas: () => Promise<GasGauge>;
}

/** Which of our keys can not pay for settlements much longer. */
export interface GasGauge {
  /** One sentence for each. */
  low: string[];
  /** False while any key can pay, and where we have none. */
  allLow: boolean;
}

const CHECK_TIMEOUT_MS = 5_000;

const MAX_CLOCK_SKEW_MS = 60_000;

const PARTITION_NOTICE_DAYS = 32;

/** 0.0005 ETH: some thousand settlements on Base. Below it settling is about to stop. */
const MIN_GAS_WEI = 500_000_000_000_000n;

/** What a key must be able to pay at the present price, whatever that is. */
const RESERVED_SETTLEMENTS = 100n;

/** What must be well before a load balancer may send us money. */
export function checkReadiness(deps: {
  pool: Pool;
  databaseUrl: string;
  cells: readonly CellName[];
  /** The networks whose money is taken, each with its facilitators. */
  settling: readonly { network: string; title: string; facilitators: Pick<Facilitators, 'condition'> }[];
  networks: readonly ReadinessNetwork[];
  /** What TRUST_FACILITATOR means here. */
  trust: readonly ReadinessCheck[];
}): ReadinessCheck[] {
  let migrated = false;

  /** Ids carry our clock's time and the ledger refuses ids of the future, so the two clocks must agree. */
  async function checkDatabase(): Promise<string[]> {
    const read = deps.pool.query<{ now: Date }>('SELECT clock_timestamp() AS now');
    const { rows } = await withDeadline('database', CHECK_TIMEOUT_MS, read);
    const skewMs = Math.abs(Date.now() - (rows[0]?.now.getTime() ?? 0));
    return skewMs <= MAX_CLOCK_SKEW_MS ? [] : [`the clocks of gateway and database differ by ${skewMs} ms`];
  }

  /** Migrations only ever move forward, so once they are complete they stay complete for this process. */
  async function checkMigrations(): Promise<string[]> {
    if (migrated) return [];
    const state = await readMigrationState(deps);
    const problems = [...describeConflicts(state), ...describeMissing(state)];
    migrated = problems.length === 0;
    return problems;
  }

  /** Credit needs a partition of the log; the months ahead are made daily, so a month's notice is an alarm. */
  async function checkLedger(): Promise<string[]> {
    const problems: string[] = [];
    for (const cell of deps.cells) {
      const { rows } = await deps.pool.query<{ soon: boolean }>(
        `SELECT "${cell}".id_at(now() + interval '${PARTITION_NOTICE_DAYS} days') >= id_until AS soon
         FROM "${cell}".transfer_window`,
      );
      if (rows[0]?.soon !== false)
        problems.push(`the log of ${cell} ends in less than ${PARTITION_NOTICE_DAYS} days`);
    }
    return problems;
  }

  return [
    { name: 'database', run: checkDatabase },
    { name: 'migrations', run: checkMigrations },
    { name: 'ledger', run: checkLedger },
    ...deps.networks.flatMap(({ title, chain, readGas }) => [
      {
        name: `${title} node`,
        run: () => withDeadline('chain', CHECK_TIMEOUT_MS, chain.checkSetup()),
      },
      gasCheck(title, readGas),
    ]),
    ...deps.settling.map(facilitatorCheck),
    ...deps.trust,
  ];
}

/** One facilitator in trouble is worth knowing; that none can settle is a problem. */
function facilitatorCheck(parts: {
  network: string;
  title: string;
  facilitators: Pick<Facilitators, 'condition'>;
}): ReadinessCheck {
  const inTrouble = async () => {
    const reading = parts.facilitators.condition(parts.network);
    const all = await withDeadline('facilitators', CHECK_TIMEOUT_MS, reading);
    return { all, troubled: all.filter(({ trouble }) => trouble !== undefined) };
  };
  const list = (troubled: readonly { name: string; trouble: string | undefined }[]) =>
    troubled.map(({ name, trouble }) => `FACILITATORS: ${name}: ${trouble}`);
  return {
    name: `${parts.title} facilitators`,
    async run() {
      const { all, troubled } = await inTrouble();
      return troubled.length < all.length ? [] : list(troubled);
    },
    async notes() {
      const { all, troubled } = await inTrouble();
      return troubled.length < all.length ? list(troubled) : [];
    },
  };
}

/** Any key that runs dry is worth knowing; that all of them do is a problem, a while before they are dry. */
function gasCheck(title: string, readGas: () => Promise<GasGauge>): ReadinessCheck {
  const read = () => withDeadline('gas', CHECK_TIMEOUT_MS, readGas());
  return {
    name: `${title} gas`,
    async run() {
      const { low, allLow } = await read();
      return allLow ? low : [];
    },
    async notes() {
      const { low, allLow } = await read();
      return allLow ? [] : low;
    },
  };
}

export function evmReadiness({ network, client, chain, lanes }: EvmParts): ReadinessNetwork {
  const addresses = lanes?.addresses ?? [];
  return {
    title: network.title,
    chain,
    async readGas() {
      if (addresses.length === 0) return { low: [], allLow: false };
      const [price, ...balances] = await Promise.all([
        client.gasPrice(),
        ...addresses.map(address => client.balance(address)),
      ]);
      const reserve = network.settleGas * price * RESERVED_SETTLEMENTS;
      const least = reserve > MIN_GAS_WEI ? reserve : MIN_GAS_WEI;
      const low = addresses.filter((_, index) => (balances[index] ?? 0n) < least);
      return {
        low: low.map(address => `EVM_PRIVATE_KEY: ${address} needs gas on ${network.title}`),
        allLow: low.length === addresses.length,
      };
    },
  };
}

/** Who pays on Tempo pays its own gas. */
export function tempoReadiness({ network, chain }: TempoParts): ReadinessNetwork {
  return { title: network.title, chain, readGas: () => Promise.resolve({ low: [], allLow: false }) };
}

export function svmReadiness({ network, client, chain, sender }: SvmParts): ReadinessNetwork {
  return {
    title: network.title,
    chain,
    async readGas() {
      if (!sender) return { low: [], allLow: false };
      const allLow = (await client.balance(sender.address)) < network.minFeePayerLamports;
      const problem = `SVM_PRIVATE_KEY: ${sender.address} needs SOL on ${network.title}`;
      return { low: allLow ? [problem] : [], allLow };
    },
  };
}
