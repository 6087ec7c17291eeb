import { decodeBase64Json, encodeBase64Json } from '../lib/base64.ts';
import { baseUnitsToNano, formatUsd } from '../lib/money.ts';
import { ask, NoAnswerError } from './http.ts';
import { type Attempt, isRefusal, RefusedError, reasonOf, type Seller, saysUsed, unknown } from './seller.ts';
import {
  findNetwork,
  type PaymentTerms,
  readAccepts,
  readBaseUnits,
  type SignedPayment,
  show,
  UnacceptableOfferError,
  type Wallet,
} from './terms.ts';

const ASK_TIMEOUT_MS = 30_000;
/** Sellers wait for the chain before they answer. */
const PAY_TIMEOUT_MS = 100_000;

export interface VeniceOrder {
  /** Origin of the seller. */
  origin: URL;
  wallet: Wallet;
  /** USDC has the same decimals everywhere that is known here. */
  amountBaseUnits: bigint;
}

/** Tops up as Venice sells: the paying wallet is the account, and the signature alone says the amount. */
export function createVeniceSeller({ origin, wallet, amountBaseUnits }: VeniceOrder): Seller {
  const url = new URL('/api/v1/x402/top-up', origin);

  return {
    account: wallet.address,
    async askTerms(): Promise<PaymentTerms> {
      const answer = await ask(url, { method: 'POST', timeoutMs: ASK_TIMEOUT_MS });
      if (answer.status !== 402) throw new RefusedError(reasonOf(answer));
      const accepts = readAccepts(answer.json);
      const entry = wallet.networks
        .map(network => accepts.find(each => findNetwork(each, [network])))
        .find(each => each !== undefined);
      if (!entry) throw new UnacceptableOfferError('the server offers no network that can be paid on here');
      const terms = { ...wallet.checkEntry(entry), amountBaseUnits };
      const minimum = readBaseUnits(entry['amount']);
      if (minimum > amountBaseUnits) {
        const least = formatUsd(baseUnitsToNano(minimum, terms.network.usdc.decimals));
        throw new UnacceptableOfferError(`the least top-up is ${least} USDC`);
      }
      return terms;
    },

    async pay(terms: PaymentTerms, payload: SignedPayment['payload']): Promise<Attempt> {
      const header = encodeBase64Json(envelope(terms, payload));
      const answer = await ask(url, {
        method: 'POST',
        headers: { 'PAYMENT-SIGNATURE': header },
        timeoutMs: PAY_TIMEOUT_MS,
      }).catch((error: NoAnswerError) => error);
      if (answer instanceof NoAnswerError) return unknown(answer);
      const { data, details, error } = (answer.json ?? {}) as {
        error?: unknown;
        data?: Record<string, unknown>;
        details?: Record<string, unknown>;
      };
      if (answer.status === 200 && data) {
        const receipt = decodeBase64Json(answer.headers.get('payment-response') ?? '') as
          | { transaction?: unknown }
          | undefined;
        return {
          kind: 'paid',
          receipt: {
            transaction: show(receipt?.transaction ?? ''),
            credited: `${show(data['amountCredited'])} USD`,
            balance: `${show(data['newBalance'])} USD`,
            paymentId: show(data['paymentId']),
          },
        };
      }
      // The other 402 is the price list: this seller has seen no payment, and something between us may have lost it.
      const isProven = answer.status === 402 && error === 'SETTLEMENT_FAILED';
      if (isProven || (isRefusal(answer.status) && !saysUsed(details?.['reason']))) {
        return { kind: 'refused', reason: reasonOf(answer), isProven };
      }
      const paymentId = details?.['paymentId'];
      return unknown(answer, typeof paymentId === 'string' ? show(paymentId) : undefined);
    },
  };
}

/**
 * The payment as published clients of this seller send it: `venice-x402-client` on EVM networks, and on Solana
 * `@x402/svm` in version 2, which repeats the chosen entry, so that the seller finds the memo it asked for.
 */
function envelope({ network, entry, amountBaseUnits }: PaymentTerms, payload: SignedPayment['payload']) {
  return network.network.startsWith('solana:')
    ? { x402Version: 2, accepted: { ...entry, amount: amountBaseUnits.toString() }, payload }
    : { x402Version: 2, scheme: 'exact', network: network.network, payload };
}
