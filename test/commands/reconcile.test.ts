import { encodeFunctionData, erc20Abi } from 'viem';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { reconcile } from '../../src/commands/reconcile.ts';
import { cellName, DEFAULT_CELL } from '../../src/db/queryable.ts';
import { unavailable } from '../../src/lib/errors.ts';
import type { EvmClient } from '../../src/ports/evm-client.ts';
import { sendAsPayer } from '../support/chain.ts';
import { startGateway, type TestGateway } from '../support/gateway.ts';
import { BASE_USDC, createPayer, paymentHeader, signPayment } from '../support/payment.ts';

const NEVER_MS = 3_600_000;
const CELLS = [DEFAULT_CELL, cellName('cell_1')] as const;
const HOUR_S = 3_600;

/** Which call of the node fails right now. */
let fault: 'receipt' | 'send' = 'receipt';

function faulty(client: EvmClient): EvmClient {
  return {
    ...client,
    receipt: hash =>
      fault === 'receipt' ? Promise.reject(unavailable('the Base node')) : client.receipt(hash),
    sendRawTransaction: raw =>
      fault === 'send' ? Promise.reject(unavailable('the Base node')) : client.sendRawTransaction(raw),
  };
}

let gateway: TestGateway;

beforeAll(async () => {
  // Nobody works on what is left open.
  const seams = {
    evmClient: faulty,
    settleWaitMs: 500,
    reconcileEveryMs: NEVER_MS,
    maintainSenderEveryMs: NEVER_MS,
  };
  gateway = await startGateway({ seams, settings: { CELLS: CELLS.join(',') } });
  for (const [name, value] of Object.entries(gateway.env)) vi.stubEnv(name, value);
});

afterAll(async () => {
  vi.unstubAllEnvs();
  await gateway?.stop();
});

/** A payment that stays open in this cell and was begun so many seconds ago. @returns its id and its payer */
async function leaveOpen(cell: string, ageSeconds: number) {
  await gateway.sql.query('UPDATE directory.cell SET share = (cell = $1)::int', [cell]);
  const payer = await createPayer(100n);
  const answer = await gateway.app.inject({
    method: 'POST',
    url: '/api/v1/x402/top-up',
    headers: { 'payment-signature': paymentHeader(await signPayment(payer, gateway.payTo, 10_000_000n)) },
  });
  expect(answer.statusCode).toBe(504);
  const from = payer.address.toLowerCase();
  const { rows } = await gateway.sql.query<{ id: string }>(
    `UPDATE "${cell}".payment SET created_at = created_at - make_interval(secs => $2)
     WHERE payer = $1 RETURNING payment_id AS id`,
    [from, ageSeconds],
  );
  return { id: rows[0]?.id ?? '', from };
}

/** A plain transfer that no payment announced. */
async function sendStrayMoney(amount: bigint): Promise<string> {
  const data = encodeFunctionData({ abi: erc20Abi, functionName: 'transfer', args: [gateway.payTo, amount] });
  return sendAsPayer(await createPayer(100n), BASE_USDC, data);
}

/** The command in this process, on a terminal or not: what it prints and its exit code. */
async function command(isTerminal: boolean, ...args: string[]) {
  let text = '';
  const stdout = vi.spyOn(process.stdout, 'write').mockImplementation(chunk => {
    text += String(chunk);
    return true;
  });
  const isTty = Object.getOwnPropertyDescriptor(process.stdout, 'isTTY');
  Object.defineProperty(process.stdout, 'isTTY', { value: isTerminal, configurable: true });
  try {
    process.exitCode = undefined;
    await reconcile(args);
    return { code: process.exitCode, text };
  } finally {
    process.exitCode = undefined;
    stdout.mockRestore();
    if (isTty) Object.defineProperty(process.stdout, 'isTTY', isTty);
    else Reflect.deleteProperty(process.stdout, 'isTTY');
  }
}

/** Title → rows, each a list of its cells that are not empty. */
function readSections(text: string): Map<string, string[][]> {
  const sections = text.trimEnd().split('\n\n');
  return new Map(
    sections.map(section => {
      const [title = '', ...lines] = section.split('\n');
      return [title, lines.map(line => line.split(/ {2,}/))] as const;
    }),
  );
}

describe('topup-gateway reconcile', () => {
  it('shows what is settled and not credited, what is open for how long, and what nobody announced', async () => {
    const settled = await leaveOpen(CELLS[0], HOUR_S);
    fault = 'send';
    const younger = await leaveOpen(CELLS[0], 60);
    const oldest = await leaveOpen(CELLS[1], 3 * HOUR_S);
    const stray = await sendStrayMoney(7_000_000n);

    const json = await command(false, '--dry-run');
    const report = JSON.parse(json.text) as {
      verdict: string;
      pending: { paymentId: string; ageSeconds: number }[];
    };
    expect([json.code, report.verdict]).toEqual([1, 'gap']);
    expect(report.pending.map(({ paymentId }) => paymentId)).toEqual([oldest.id, settled.id, younger.id]);
    // In seconds, and compared in hours, so that a slow machine changes nothing.
    const ages = report.pending.map(({ ageSeconds }) => ageSeconds);
    expect(ages).toEqual(ages.map(() => expect.toSatisfy(Number.isInteger)));
    expect(ages.map(age => Math.floor(age / HOUR_S))).toEqual([3, 1, 0]);
    expect(ages.at(-1)).toBeGreaterThanOrEqual(60);

    const shown = await command(true, '--dry-run');
    expect(shown.code).toBe(1);
    const sections = readSections(shown.text);
    expect([...sections.keys()].slice(1)).toEqual(['settled but not credited', 'pending', 'suspense']);
    expect(sections.get('settled but not credited')).toEqual([
      ['network', 'transaction', 'log', 'base units', 'from', 'payment'],
      ['eip155:8453', expect.stringMatching(/^0x/), expect.any(String), '10000000', settled.from, settled.id],
    ]);
    const [titles, ...open] = sections.get('pending') ?? [];
    expect(titles?.slice(0, 4)).toEqual(['age (s)', 'payment', 'network', 'base units']);
    expect(open.map(([, id]) => id)).toEqual([oldest.id, settled.id, younger.id]);
    expect(open.map(([age]) => Math.floor(Number(age) / HOUR_S))).toEqual([3, 1, 0]);
    expect(sections.get('suspense')).toEqual([
      ['network', 'transaction', 'log', 'base units', 'from'],
      ['eip155:8453', stray, expect.any(String), '7000000', expect.stringMatching(/^0x/)],
    ]);
    expect(shown.text).not.toContain('chain and books agree');
    expect((await command(true, '--dry-run', '--json')).text).toMatch(/^\{/);
  });
});
