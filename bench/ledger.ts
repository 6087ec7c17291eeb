import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { startLocalPostgres } from '../src/local/postgres.ts';
import { type Contender, createContenders, finishWrites } from './ledger/contenders.ts';
import { closedLoop, type Measure, openLoop, type Workload } from './ledger/load.ts';

const IN_FLIGHT = [1, 8, 64, 256];
const WORKLOADS: Workload[] = [
  { kind: 'debit', spread: true },
  { kind: 'debit', spread: false },
  { kind: 'pair', spread: true },
  { kind: 'pair', spread: false },
];
const OPEN_RATES = [1_000, 6_000];
/** What a hold may take at the 99th percentile on a quiet machine. */
const HOLD_TARGET_MS = 10;

const USAGE = `npm run bench -- ledger [--prototype FILE] [--seconds 2] [--rounds 3] [--only debit.spread]

Measures spending on an embedded PostgreSQL with fsync on, against the same operations as transactions of
the application, as one function call each, and optionally as a prototype's SQL behind the same batcher.`;

/**
 * Prints one JSON line per name and baseline: the median of rounds in which all contenders took turns, so that
 * the ratios hold although the machine's speed changes. Throws when any books are wrong.
 */
export async function run(args: string[]): Promise<void> {
  const { values } = parseArgs({
    args,
    options: {
      prototype: { type: 'string' },
      seconds: { type: 'string', default: '2' },
      rounds: { type: 'string', default: '3' },
      only: { type: 'string', default: '' },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) {
    console.error(USAGE);
    return;
  }
  const durationMs = Number(values.seconds) * 1_000;
  const rounds = Number(values.rounds);
  const dataDir = await mkdtemp(path.join(tmpdir(), 'topup-gateway-bench-'));
  const server = await startLocalPostgres({ dataDir, fsync: true, log: message => console.error(message) });
  try {
    const contenders = await createContenders(server.databaseUrl, values.prototype);
    for (const workload of WORKLOADS) {
      for (const inFlight of IN_FLIGHT) {
        const name = `ledger.${workload.kind}.${workload.spread ? 'spread' : 'hot'}.${inFlight}`;
        if (name.includes(values.only)) {
          print(name, await compare(contenders, workload, inFlight, durationMs, rounds));
        }
      }
    }
    if ('ledger.open'.includes(values.only)) {
      await finishWrites(server.databaseUrl);
      await measureOpenLoop(contenders, durationMs * 2);
    }
  } finally {
    await server.stop();
    await rm(dataDir, { recursive: true, force: true });
  }
}

type Results = Map<Contender['name'], Measure>;

async function compare(
  contenders: readonly Contender[],
  workload: Workload,
  inFlight: number,
  durationMs: number,
  rounds: number,
): Promise<Results> {
  const all = new Map<Contender['name'], Measure[]>(contenders.map(({ name }) => [name, []]));
  for (let round = 0; round < rounds; round += 1) {
    for (const contender of contenders) {
      const session = contender.open(inFlight);
      try {
        all.get(contender.name)?.push(await closedLoop(session, workload, inFlight, durationMs));
      } finally {
        await session.close();
      }
      await contender.checkBooks();
    }
  }
  return new Map([...all].map(([name, measures]) => [name, middle(measures)]));
}

function middle(measures: readonly Measure[]): Measure {
  const median = (pick: (m: Measure) => number) => {
    const sorted = measures.map(pick).sort((x, y) => x - y);
    return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
  };
  return {
    perSecond: median(m => m.perSecond),
    p50Ms: median(m => m.p50Ms),
    p99Ms: median(m => m.p99Ms),
  };
}

function print(name: string, results: Results): void {
  const ours = results.get('ledger');
  if (!ours) return;
  for (const [baseline, theirs] of results) {
    if (baseline === 'ledger') continue;
    line(name, ours.perSecond, 'per second', baseline, ours.perSecond / theirs.perSecond);
    line(`${name}.p50`, ours.p50Ms, 'ms', baseline, theirs.p50Ms / ours.p50Ms);
    line(`${name}.p99`, ours.p99Ms, 'ms', baseline, theirs.p99Ms / ours.p99Ms);
  }
}

async function measureOpenLoop(contenders: readonly Contender[], durationMs: number): Promise<void> {
  const [ledger] = contenders;
  if (!ledger) return;
  for (const rate of OPEN_RATES) {
    const session = ledger.open(rate);
    try {
      const { perSecond, p50Ms, p99Ms } = await openLoop(session, rate, durationMs);
      line(`ledger.open.${rate}`, perSecond, 'per second', 'target', perSecond / rate);
      line(`ledger.open.${rate}.hold.p50`, p50Ms, 'ms', 'target', HOLD_TARGET_MS / p50Ms);
      line(`ledger.open.${rate}.hold.p99`, p99Ms, 'ms', 'target', HOLD_TARGET_MS / p99Ms);
    } finally {
      await session.close();
    }
    await ledger.checkBooks();
  }
}

function line(name: string, value: number, unit: string, baseline: string, ratio: number): void {
  const round = (x: number) => Number(x.toPrecision(4));
  console.log(JSON.stringify({ name, value: round(value), unit, baseline, ratio: round(ratio) }));
}
