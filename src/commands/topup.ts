import { createDriaSeller, registerWallet } from '../client/dria.ts';
import { NoAnswerError } from '../client/http.ts';
import { type PaymentResult, payOnce } from '../client/pay.ts';
import { RefusedError, type Seller } from '../client/seller.ts';
import { SolanaNodeError } from '../client/svm-wallet.ts';
import { type PaymentTerms, UnacceptableOfferError } from '../client/terms.ts';
import { createVeniceSeller } from '../client/venice.ts';
import { systemClock } from '../lib/clock.ts';
import { sleep } from '../lib/deadline.ts';
import { baseUnitsToNano, formatUsd } from '../lib/money.ts';
import { confirm } from './confirm.ts';
import { print } from './output.ts';
import { readTopupOrder, TOPUP_USAGE, type TopupOrder } from './topup-order.ts';

/**
 * How the command ends. `problem`: no payment was signed, because the server is not there, makes no offer or asks for
 * something odd. `pending`: signed and sent, and nobody can tell yet; do not pay again.
 */
export const TOPUP_EXIT = { paid: 0, problem: 1, usage: 2, refused: 3, pending: 4, declined: 5 } as const;

/** `topup-gateway topup`: pays a seller from a wallet whose key is here. */
export async function topup(args: string[]): Promise<void> {
  if (args.includes('--help')) {
    process.stdout.write(TOPUP_USAGE);
    return;
  }
  const order = readTopupOrder(args, process.env);
  if (typeof order === 'string') {
    process.stderr.write(`${order}\n\n${TOPUP_USAGE}`);
    process.exitCode = TOPUP_EXIT.usage;
    return;
  }
  const made: MadeKey = {};
  try {
    process.exitCode = await run(args, order, made);
  } catch (error) {
    const isExpected = [UnacceptableOfferError, RefusedError, NoAnswerError, SolanaNodeError].some(
      kind => error instanceof kind,
    );
    if (!isExpected) throw error;
    const { message } = error as Error;
    print(args, { outcome: 'problem', reason: message, ...made }, `Nothing was paid: ${message}`);
    process.exitCode = TOPUP_EXIT.problem;
  }
}

/** The key that was made on the way: it is shown once, so every result from then on carries it. */
interface MadeKey {
  apiKey?: string;
}

async function run(args: string[], order: TopupOrder, made: MadeKey): Promise<number> {
  const { waitMs } = order;
  const nowMs = systemClock.nowMs;
  const seller = await sellerOf(order, made);
  if (!seller) {
    print(args, { outcome: 'declined' }, 'Nothing was signed: not confirmed.');
    return TOPUP_EXIT.declined;
  }
  const terms = await seller.askTerms();
  const summary = summarize(order, seller, terms);
  for (const [name, value] of Object.entries(summary)) tell(`${name.padEnd(10)} ${value}`);
  if (!order.isConfirmed && !(await confirm('Pay? [y/N] '))) {
    print(args, { outcome: 'declined', ...summary, ...made }, 'Nothing was paid: not confirmed.');
    return TOPUP_EXIT.declined;
  }
  const onUnknown = (reason: string) => tell(`not known yet (${reason}), asking again`);
  const result = await payOnce({ seller, terms, waitMs, nowMs, sleep, onUnknown });
  return report(args, order, { ...summary, ...made }, result);
}

/**
 * The seller, with a key of its own for a wallet of Dria that has none. An offer is made to keys alone, so the wallet
 * signs a text for one before the price can be shown; that is asked for by itself.
 * @returns undefined when it was not agreed to
 */
async function sellerOf(order: TopupOrder, made: MadeKey): Promise<Seller | undefined> {
  if (order.dialect === 'venice') return createVeniceSeller(order);
  if (order.apiKey !== undefined) return createDriaSeller({ ...order, apiKey: order.apiKey });
  tell(`${order.origin.host} makes offers to API keys, and none is given.`);
  tell(`The wallet ${order.wallet.address} would sign a text, which moves no money, to obtain one.`);
  if (!order.isConfirmed && !(await confirm('Obtain a key? [y/N] '))) return undefined;
  const apiKey = await registerWallet(order, systemClock.nowMs());
  made.apiKey = apiKey;
  tell(`new API key of this wallet, shown once: ${apiKey}`);
  return createDriaSeller({ ...order, apiKey });
}

/** Prints what the top-up came to. @returns the exit code */
function report(args: string[], order: TopupOrder, about: object, result: PaymentResult): number {
  const signedUntil = new Date(result.signedUntilMs).toISOString();
  const { signedUntilBlock } = result;
  const validity = {
    signedUntil,
    ...(signedUntilBlock !== undefined && { signedUntilBlock: signedUntilBlock.toString() }),
  };
  const end =
    signedUntilBlock === undefined ? signedUntil : `block ${signedUntilBlock} (about ${signedUntil})`;
  if (result.kind === 'paid') {
    const { credited, balance, transaction, paymentId } = result.receipt;
    const lines = [`Paid: ${credited} credited, balance ${balance}`, `transaction ${transaction}`];
    if (paymentId !== undefined) lines.push(`payment     ${paymentId}`);
    print(args, { outcome: 'paid', ...about, ...result.receipt }, lines.join('\n'));
    return TOPUP_EXIT.paid;
  }
  const { reason } = result;
  if (result.kind === 'refused') {
    const text = `Refused: ${reason}\nThe server says that no money moved. The signature ends at ${end}.`;
    print(args, { outcome: 'refused', reason, ...validity, ...about }, text);
    return TOPUP_EXIT.refused;
  }
  const { paymentId } = result;
  const statusUrl = paymentId && new URL(`/payments/${paymentId}`, order.origin).href;
  const lines = [
    `Not known yet: ${reason}`,
    `Do not pay again: what was signed can be settled until ${end}, and is then credited once.`,
  ];
  if (statusUrl) lines.push(`state: ${statusUrl}`);
  print(args, { outcome: 'pending', reason, ...validity, statusUrl, ...about }, lines.join('\n'));
  return TOPUP_EXIT.pending;
}

function summarize(order: TopupOrder, seller: Seller, terms: PaymentTerms) {
  const { title, network, usdc, environment } = terms.network;
  const amount = formatUsd(baseUnitsToNano(terms.amountBaseUnits, usdc.decimals));
  return {
    seller: `${order.origin.origin} (${order.dialect})`,
    amount: `${amount} USDC`,
    token: usdc.address,
    network: `${title} (${network})${environment === 'test' ? ', test money' : ''}`,
    payer: order.wallet.address,
    receiver: terms.payTo,
    account: seller.account,
  };
}

/** What is for people goes to standard error, so that standard output is the result alone. */
function tell(line: string): void {
  process.stderr.write(`${line}\n`);
}
