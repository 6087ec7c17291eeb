import { generatePrivateKey, privateKeyToAddress } from 'viem/accounts';
import { formatUsd } from '../src/lib/money.ts';
import { ensureClients } from './clients.ts';
import { runTopup } from './demo/command-line.ts';
import { readChainTransfer, readLedger } from './demo/evidence.ts';
import { findOrStartSandbox, type SandboxInfo } from './demo/sandbox.ts';
import { type HttpExchange, startVeniceClient } from './venice-client.ts';

/** The published client wants at least 5; a fresh wallet gets more than it spends, as in real life. */
const FUND_USD = '25';
const TOPUP_USD = 10;
/** What each payment from the command line is. */
const COMMAND_USD = 5;
const USDC_PER_USD = 1_000_000n;

const REQUEST_TIMEOUT_MS = 30_000;

function step(title: string): void {
  console.log(`\n${title}`);
}

function say(name: string, value: string): void {
  console.log(`  ${name.padEnd(12)} ${value}`);
}

/** Headers that carry a payment or a proof; the rest is the HTTP library's. */
const TELLING_HEADERS = [
  'payment-signature',
  'x-402-payment',
  'x-payment',
  'sign-in-with-x',
  'x-sign-in-with-x',
];

function sayExchanges(exchanges: readonly HttpExchange[]): void {
  for (const { method, path, sentHeaders, status } of exchanges) {
    const telling = sentHeaders.filter(name => TELLING_HEADERS.includes(name));
    const route = path.replace(/0x[0-9a-fA-F]{40}/, '{wallet}');
    say('→', `${method} ${route}${telling.length > 0 ? ` with ${telling.join(', ')}` : ''} → ${status}`);
  }
}

async function requestJson<T>(url: string, body?: object): Promise<T> {
  const answer = await fetch(url, {
    signal: AbortSignal.timeout(REQUEST_TIMEOUT_MS),
    ...(body
      ? { method: 'POST', body: JSON.stringify(body), headers: { 'content-type': 'application/json' } }
      : {}),
  });
  const text = await answer.text();
  if (!answer.ok) throw new Error(`${url} answered ${answer.status}: ${text.slice(0, 300)}`);
  return JSON.parse(text) as T;
}

/** Everything that is printed as a fact is compared with what it must be: a demo that lies is worse than none. */
function expectEqual(what: string, actual: unknown, expected: unknown): void {
  if (actual !== expected) throw new Error(`${what} is ${String(actual)}, expected ${String(expected)}`);
}

async function demonstrate(origin: string): Promise<void> {
  const info = await requestJson<SandboxInfo>(`${origin}/sandbox/v1/info`);
  const network = info.networks.find(n => n.network === 'eip155:8453');
  if (!network) throw new Error('the sandbox runs no Base chain (NETWORKS must hold eip155:8453)');
  const privateKey = generatePrivateKey();
  const wallet = privateKeyToAddress(privateKey);

  step('A fresh wallet gets test dollars');
  const funded = await requestJson<{ transaction: string }>(`${origin}/sandbox/v1/fund`, {
    network: network.network,
    address: wallet,
    amountUsd: FUND_USD,
  });
  say('wallet', wallet);
  say('funded', `${FUND_USD} USDC on the local Base chain, transaction ${funded.transaction}`);

  const client = startVeniceClient({ apiUrl: origin, privateKey });
  try {
    const transaction = await demonstrateTopup(client);
    await demonstrateReading(client);
    await showEvidence(info, network, wallet, transaction);
  } finally {
    await client.stop();
  }
  await demonstrateCommandLine(origin, privateKey);
}

/** The wallet's third payment is for a key that the gateway gives it; that key spends the same money. */
async function demonstrateCommandLine(origin: string, privateKey: string): Promise<void> {
  for (const dialect of ['venice', 'dria'] as const) {
    step(`topup-gateway topup --dialect ${dialect} --amount ${COMMAND_USD}`);
    const { credited, balance, transaction, apiKey } = await runTopup({
      dialect,
      amount: String(COMMAND_USD),
      origin,
      privateKey,
    });
    say('transaction', transaction);
    say('credited', `${credited}, balance ${balance}`);
    const total = dialect === 'venice' ? TOPUP_USD + COMMAND_USD : TOPUP_USD + 2 * COMMAND_USD;
    expectEqual('the balance', balance, dialect === 'venice' ? `${total} USD` : `${total * 100} credits`);
    if (apiKey !== undefined) say('new key', `${apiKey.slice(0, 'dkn_live_'.length)}…${apiKey.slice(-4)}`);
  }
}

type Client = ReturnType<typeof startVeniceClient>;

async function demonstrateTopup(client: Client): Promise<string> {
  step(`venice-x402-client 0.2.0, unmodified: topUp(${TOPUP_USD})`);
  const { exchanges } = await client.call('topUp', TOPUP_USD);
  sayExchanges(exchanges);
  const paid = exchanges.at(-1);
  const receipt = paid?.paymentResponse;
  const body = paid?.body as { data: { amountCredited: number; newBalance: number; paymentId: string } };
  if (!receipt) throw new Error('the gateway sent no PAYMENT-RESPONSE');
  say('transaction', receipt.transaction);
  say('payment', body.data.paymentId);
  say('credited', `$${body.data.amountCredited}`);
  say('balance', `$${client.balance()}`);
  expectEqual('the credited amount', body.data.amountCredited, TOPUP_USD);
  expectEqual("the client's balance", client.balance(), TOPUP_USD);
  return receipt.transaction;
}

interface Transactions {
  transactions: { type: string; amount: number; balanceAfter: number; createdAt: string }[];
}

async function demonstrateReading(client: Client): Promise<void> {
  step('The same client: getBalance()');
  const read = await client.call('getBalance');
  sayExchanges(read.exchanges);
  const balance = read.result as { balanceUsd: number; canConsume: boolean };
  say('balance', `$${balance.balanceUsd}, may spend: ${balance.canConsume ? 'yes' : 'no'}`);
  expectEqual('the balance', balance.balanceUsd, TOPUP_USD);

  step('The same client: getTransactions()');
  const { result, exchanges } = await client.call('getTransactions', { limit: 5, offset: 0 });
  sayExchanges(exchanges);
  const rows = (result as Transactions).transactions;
  for (const row of rows)
    say(row.type, `+$${row.amount}, balance after $${row.balanceAfter}, ${row.createdAt}`);
  expectEqual('the number of rows', rows.length, 1);
}

async function showEvidence(
  info: SandboxInfo,
  network: SandboxInfo['networks'][number],
  wallet: string,
  transaction: string,
): Promise<void> {
  step('Proof');
  const transfer = await readChainTransfer(network, transaction);
  const received = Number(transfer.amountBaseUnits) / Number(USDC_PER_USD);
  say(
    'chain',
    `block ${transfer.blockNumber}: payTo ${network.payTo} received ${received} USDC from the wallet`,
  );
  expectEqual('the payer on chain', transfer.from, wallet.toLowerCase());
  expectEqual('the amount on chain', transfer.amountBaseUnits, BigInt(TOPUP_USD) * USDC_PER_USD);
  const rows = await readLedger(info.databaseUrl, network.network, wallet);
  for (const row of rows) {
    const amount = `${formatUsd(row.amountNanoUsd)} USD`;
    say(
      'ledger',
      `transfer ${row.seq}: ${row.code} of ${amount} from "${row.contra}", balance ${formatUsd(row.balanceAfterNanoUsd)}`,
    );
  }
  expectEqual('the number of transfers', rows.length, 1);
}

/** Ctrl-C ends the demo through the same clean-up as everything else. */
function interruption(): Promise<never> {
  return new Promise((_, reject) => {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) {
      process.once(signal, () => reject(new Error(`stopped by ${signal}`)));
    }
  });
}

const interrupted = interruption();
// Handled where it is raced; a signal in between must not count as an unhandled rejection.
interrupted.catch(() => undefined);

try {
  await ensureClients();
  const sandbox = await findOrStartSandbox(Number(process.env['PORT'] ?? '4020'));
  console.log(
    sandbox.startedHere
      ? `No sandbox answered, so one was started for this demo: ${sandbox.origin}`
      : `Using the sandbox at ${sandbox.origin}`,
  );
  try {
    await Promise.race([demonstrate(sandbox.origin), interrupted]);
    step('Done: every payment settled on chain and credited once.');
  } finally {
    await sandbox.stop();
  }
} catch (error) {
  console.error(`\nThe demo failed: ${error instanceof Error ? error.message : String(error)}`);
  process.exitCode = 1;
}
