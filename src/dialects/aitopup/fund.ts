import type { FastifyInstance } from 'fastify';
import { GatewayError } from '../../lib/errors.ts';
import { markOffer } from '../../protocols/offer-mark.ts';
import { senderOf } from './authentication.ts';
import { sendAnswer } from './errors.ts';
import { createFundPayments } from './fund-payments.ts';
import { FUND_RANGE } from './limits.ts';
import type { AitopupOptions } from './options.ts';
import { answers, describe, FundRequest } from './schemas.ts';
import { readAmount, readObject } from './wire.ts';

export const FUND_PATH = '/topup/fund';

/** `POST /topup/fund`: fills the wallet of the key's owner by an x402 payment of version 2. Our own route. */
export function fundRoute(app: FastifyInstance, options: AitopupOptions, prefix: string): void {
  const payments = createFundPayments(options, {
    url: `${options.publicOrigin}${prefix}${FUND_PATH}`,
    description: 'Prepaid top-up credit',
    mimeType: 'application/json',
  });

  app.post(
    FUND_PATH,
    {
      schema: describe('aitopupFund', 'Fill the wallet with USDC', {
        description:
          'Without a payment: 402 with the offer in `PAYMENT-REQUIRED` (x402 version 2). The same request with `PAYMENT-SIGNATURE` pays; the same payment is credited once.',
        ...markOffer('x402', options.paymentOptions.length),
        body: FundRequest,
        response: answers('Credited (1000), with `PAYMENT-RESPONSE`', {
          402: 'The offer in `PAYMENT-REQUIRED`, or why the payment was refused (2002)',
          409: 'The payment belongs to another account (2006)',
        }),
      }),
    },
    async (request, reply) => {
      const sender = senderOf(request);
      const amountNanoUsd = readAmount(readObject(request.body)['amount_cents'], FUND_RANGE);
      const ways = options.paymentOptions.filter(way => way.environment === sender.environment);
      if (ways.length === 0) {
        throw new GatewayError('payments_not_configured', 'payments are not available for this key');
      }
      const funding = { sender, amountNanoUsd, ways };
      const header = request.headers['payment-signature'];
      if (header === undefined) {
        throw await payments.offer(funding, {
          reason: 'payment_required',
          message: 'PAYMENT-SIGNATURE header is required',
        });
      }
      return sendAnswer(reply, await payments.pay(funding, String(header)));
    },
  );
}
