import { parseArgs } from 'node:util';
import { loadConfig } from '../config/config.ts';
import { asGatewayError } from '../db/pg-errors.ts';
import { createLog } from '../http/log.ts';
import { systemClock } from '../lib/clock.ts';
import { GatewayError } from '../lib/errors.ts';
import { createServices, type Services } from '../services/services.ts';
import { type AgedPayment, judge, type ReconciliationReport } from '../topups/reconciliation.ts';
import { reconcileBooks } from './ledger.ts';
import { EXIT, print, table } from './output.ts';

const USAGE = `usage: topup-gateway reconcile [--dry-run] [--json]
       topup-gateway reconcile --ledger [--json]
       topup-gateway reconcile --close <network> <transaction> <log index> --reason <what became of the money>
       topup-gateway reconcile --close <payment> --reason <what became of the seller's loss>
exit codes: 0 no gap, 1 a gap that the report names, 2 a node or the database could not tell
`;

const OPTIONS = {
  ledger: { type: 'boolean' },
  'dry-run': { type: 'boolean' },
  json: { type: 'boolean' },
  close: { type: 'boolean' },
  reason: { type: 'string' },
} as const;

const MAX_REASON_CHARACTERS = 500;

const VERDICT_EXITS = { in_order: EXIT.good, gap: EXIT.problem, unknown: EXIT.unknown } as const;

/**
 * `topup-gateway reconcile`: finishes what the chain can prove, then compares everything that arrived with
 * everything that was credited. `--dry-run` changes nothing. `--close` takes money out of the suspense list, or a
 * settlement out of the list of those that were undone, when a person has dealt with it.
 */
export async function reconcile(args: string[]): Promise<void> {
  const parsed = readArguments(args);
  if (!parsed) {
    process.stderr.write(USAGE);
    process.exitCode = EXIT.usage;
    return;
  }
  const { values, positionals } = parsed;
  if (values.ledger) return reconcileBooks(args);
  const config = loadConfig('serve', process.env);
  const services = createServices(config, { log: createLog('silent'), clock: systemClock });
  try {
    if (values.close) return await close(services, positionals, values.reason ?? '');
    const report = await services.reconcile({ dryRun: values['dry-run'] ?? false });
    const verdict = judge(report);
    print(args, { verdict, ...report }, describe(report));
    process.exitCode = VERDICT_EXITS[verdict];
  } catch (error) {
    const known = asGatewayError(error);
    if (!(known instanceof GatewayError)) throw error;
    process.stderr.write(`it cannot be told: ${known.message}\n`);
    process.exitCode = EXIT.unknown;
  } finally {
    await services.stop();
  }
}

function readArguments(args: string[]) {
  try {
    const parsed = parseArgs({ args, options: OPTIONS, allowPositionals: true });
    const { values, positionals } = parsed;
    const fits = values.close ? isName(positionals, values.reason) : positionals.length === 0;
    return fits ? parsed : undefined;
  } catch {
    return undefined;
  }
}

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

/** The three words that name a transfer, or the one that names a settlement. */
function isName(words: string[], reason = ''): boolean {
  if (reason.length < 1 || reason.length > MAX_REASON_CHARACTERS) return false;
  const [first = '', , logIndex = ''] = words;
  return words.length === 1 ? UUID.test(first) : words.length === 3 && /^\d{1,9}$/.test(logIndex);
}

async function close(services: Services, words: string[], reason: string): Promise<void> {
  const [first = '', transaction, logIndex] = words;
  const closed =
    transaction === undefined
      ? await services.closeSettlement({ paymentId: first, reason })
      : await services.closeReceipt({ network: first, transaction, logIndex: Number(logIndex), reason });
  process.stdout.write(closed ? 'closed\n' : 'there is nothing open of this name\n');
  process.exitCode = closed ? EXIT.good : EXIT.problem;
}

function describe(report: ReconciliationReport): string {
  const sections = [
    report.networks
      .map(({ network, scannedTo, newestBlock, problem }) =>
        problem === undefined
          ? `${network}: compared up to block ${scannedTo}`
          : `${network}: ${problem} (block ${scannedTo} of ${newestBlock})`,
      )
      .join('\n'),
    section(
      'settled but not credited',
      ['network', 'transaction', 'log', 'base units', 'from', 'payment'],
      report.settledNotCredited.map(r => [
        r.network,
        r.transaction,
        r.logIndex,
        r.amountBaseUnits,
        r.from,
        r.paymentId ?? '',
      ]),
    ),
    section(
      'credited but not on chain',
      ['payment', 'network', 'transaction', 'block', 'nano-USD'],
      report.creditedNotOnChain.map(p => [
        p.paymentId,
        p.network,
        p.transaction,
        p.blockNumber,
        p.creditedNanoUsd,
      ]),
    ),
    payments('pending', report.pending),
    payments('waiting for confirmations (no gap)', report.confirming),
    section(
      'suspense',
      ['network', 'transaction', 'log', 'base units', 'from'],
      report.suspense.map(r => [r.network, r.transaction, r.logIndex, r.amountBaseUnits, r.from]),
    ),
    section(
      'settled for others and undone',
      ['payment', 'for', 'network', 'base units', 'receiver', 'transaction', 'reason'],
      report.undone.map(u => [
        u.paymentId,
        u.caller,
        u.network,
        u.amountBaseUnits,
        u.payTo,
        u.transaction ?? '',
        u.reason ?? '',
      ]),
    ),
  ].filter(text => text !== '');
  const clean = judge(report) === 'in_order';
  return [...sections, ...(clean ? ['chain and books agree'] : [])].join('\n\n');
}

function payments(title: string, rows: readonly AgedPayment[]): string {
  const names = ['age (s)', 'payment', 'network', 'base units', 'state', 'reason', 'transaction', 'for'];
  return section(
    title,
    names,
    rows.map(p => [
      p.ageSeconds,
      p.paymentId,
      p.network,
      p.amountBaseUnits,
      p.state,
      p.reason ?? '',
      p.transaction ?? '',
      p.caller ?? '',
    ]),
  );
}

function section(
  title: string,
  names: readonly string[],
  rows: readonly (readonly (string | number | bigint)[])[],
): string {
  return rows.length === 0 ? '' : `${title}\n${table(names, rows)}`;
}
