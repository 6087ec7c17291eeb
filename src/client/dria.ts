import { encodeBase64Json } from '../lib/base64.ts';
import { newId } from '../lib/ids.ts';
import type { EvmWallet } from './evm-wallet.ts';
import { ask, NoAnswerError } from './http.ts';
import { type Attempt, isRefusal, RefusedError, reasonOf, type Seller, saysUsed, unknown } from './seller.ts';
import {
  type PaymentTerms,
  readAccepts,
  readBaseUnits,
  type SignedPayment,
  show,
  UnacceptableOfferError,
} from './terms.ts';

const ASK_TIMEOUT_MS = 30_000;
/** Sellers wait for the chain before they answer. */
const PAY_TIMEOUT_MS = 100_000;

/** With these the seller has tried, and proved that no transfer happened; the others are about what it was shown. */
const SETTLE_REASONS = new Set(['invalid_transaction_state', 'payment_expired', 'unexpected_settle_error']);

export interface DriaOrder {
  origin: URL;
  /** The contract knows EVM networks alone, for payment and for registration. */
  wallet: EvmWallet;
  /** Decimal USDC with at most two decimals, as the seller takes it. */
  amount: string;
  amountBaseUnits: bigint;
  /** Its owner is credited; a wallet that has none gets one by {@link registerWallet}. */
  apiKey: string;
}

/** Tops up as Dria sells: the owner of a key is credited, and the offer names the exact amount. */
export function createDriaSeller({ origin, wallet, amount, amountBaseUnits, apiKey }: DriaOrder): Seller {
  const url = new URL('/v1/credits/topup', origin);
  const request = (headers: Record<string, string>, timeoutMs: number) =>
    ask(url, {
      method: 'POST',
      headers: { authorization: `Bearer ${apiKey}`, 'content-type': 'application/json', ...headers },
      body: JSON.stringify({ amount }),
      timeoutMs,
    });

  return {
    account: `the owner of the key …${apiKey.slice(-4)}`,
    async askTerms(): Promise<PaymentTerms> {
      const answer = await request({}, ASK_TIMEOUT_MS);
      if (answer.status !== 402) throw new RefusedError(reasonOf(answer));
      const [entry, ...others] = readAccepts(answer.json);
      if (!entry || others.length > 0) {
        throw new UnacceptableOfferError('the server makes more than one offer');
      }
      const terms = wallet.checkEntry(entry);
      const asked = readBaseUnits(entry['maxAmountRequired']);
      if (asked !== amountBaseUnits) {
        throw new UnacceptableOfferError(`the server asks for ${asked} base units, not ${amountBaseUnits}`);
      }
      return { ...terms, amountBaseUnits };
    },

    async pay(terms: PaymentTerms, payload: SignedPayment['payload']): Promise<Attempt> {
      const network = terms.network.alias;
      const header = encodeBase64Json({ x402Version: 1, scheme: 'exact', network, payload });
      const answer = await request({ 'X-PAYMENT': header }, PAY_TIMEOUT_MS).catch(
        (error: NoAnswerError) => error,
      );
      if (answer instanceof NoAnswerError) return unknown(answer);
      const body = (answer.json ?? {}) as Record<string, unknown>;
      if (answer.status === 200 && typeof body['txHash'] === 'string') {
        return {
          kind: 'paid',
          receipt: {
            transaction: show(body['txHash']),
            credited: `${show(body['credits_added'])} credits`,
            balance: `${show(body['balance'])} credits`,
            paymentId: undefined,
          },
        };
      }
      const { error } = body;
      if (saysUsed(error)) return unknown(answer);
      if (answer.status === 402 || isRefusal(answer.status)) {
        const isProven = answer.status === 402 && typeof error === 'string' && SETTLE_REASONS.has(error);
        return { kind: 'refused', reason: reasonOf(answer), isProven };
      }
      return unknown(answer);
    },
  };
}

/**
 * Proves the wallet to the seller by a text that it signs, and gets a key of its own for it.
 * @throws NoAnswerError, RefusedError
 */
export async function registerWallet(
  { origin, wallet }: Pick<DriaOrder, 'origin' | 'wallet'>,
  nowMs: number,
): Promise<string> {
  const message = [
    `${origin.host} wants wallet ${wallet.address} to obtain an API key`,
    `Issued At: ${new Date(nowMs).toISOString()}`,
    `Nonce: ${newId().replaceAll('-', '')}`,
  ].join('\n');
  const isTest = wallet.networks.every(network => network.environment === 'test');
  const answer = await ask(new URL('/v1/auth/wallet', origin), {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({
      address: wallet.address,
      message,
      signature: wallet.signText(message),
      ...(isTest && { environment: 'test' }),
    }),
    timeoutMs: ASK_TIMEOUT_MS,
  });
  const key = (answer.json as { api_key?: unknown } | undefined)?.api_key;
  if (answer.status !== 200 || typeof key !== 'string') throw new RefusedError(reasonOf(answer));
  return key;
}
