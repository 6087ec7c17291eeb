import { type PrivateKeyAccount } from 'viem/accounts';
import { decodeBase64Json } from '../../../src/lib/base64.ts';
import type { Clock } from '../../../src/lib/clock.ts';
import type { TestGateway } from '../../support/gateway.ts';
import { expectPublishedShape } from '../../support/mobula-schemas.ts';
import { BASE_USDC, paymentHeader, type SignedPayment, signPayment } from '../../support/payment.ts';

/** A clock that a test moves; it runs with the real one in between. */
export function movableClock(): Clock & { forwardDays(days: number): void } {
  let aheadMs = 0;
  return {
    nowMs: () => Date.now() + aheadMs,
    forwardDays(days) {
      aheadMs += days * 86_400_000;
    },
  };
}

/** The gateway of a test together with the clock that moves it. */
export interface MobulaGateway extends TestGateway {
  clock: Clock;
}

/** A signed payment of so many dollars, good for some minutes of the gateway's clock. */
export function sign(gateway: MobulaGateway, payer: PrivateKeyAccount, usd: number): Promise<SignedPayment> {
  const value = BigInt(Math.round(usd * 1e6));
  const validBefore = BigInt(Math.floor(gateway.clock.nowMs() / 1000)) + 250n;
  return signPayment(payer, gateway.payTo, value, { validBefore });
}

export interface Answer {
  status: number;
  body: Record<string, unknown>;
  headers: Record<string, unknown>;
}

interface CallOptions {
  payment?: SignedPayment;
  method?: 'GET' | 'DELETE';
  header?: string;
  /** Of the offer; not sent back when absent. */
  answerToken?: string;
}

/** The offer as clients of version 2 send it back with the payment. */
export function acceptedOffer({ authorization }: SignedPayment, answerToken: string) {
  return {
    scheme: 'exact',
    network: 'eip155:8453',
    amount: authorization.value.toString(),
    asset: BASE_USDC,
    payTo: authorization.to,
    maxTimeoutSeconds: 300,
    extra: { name: 'USD Coin', version: '2', answerToken },
  };
}

/** One call of the x402 rail, paid when a payment is given. Its answer is read by the published schema, too. */
export async function call(
  gateway: MobulaGateway,
  pathAndQuery: string,
  options: CallOptions = {},
): Promise<Answer> {
  const { payment, method = 'GET', header = 'payment-signature', answerToken } = options;
  const root = payment && answerToken !== undefined ? { accepted: acceptedOffer(payment, answerToken) } : {};
  const response = await gateway.app.inject({
    method,
    url: `/agent/x402${pathAndQuery}`,
    headers: payment ? { [header]: paymentHeader(payment, root) } : {},
  });
  const answer = { status: response.statusCode, body: response.json(), headers: response.headers };
  expectPublishedShape('x402', pathAndQuery, answer);
  return answer;
}

/** Prices a call by its offer, signs exactly that and pays. */
export async function pay(
  gateway: MobulaGateway,
  payer: PrivateKeyAccount,
  pathAndQuery: string,
  method: 'GET' | 'DELETE' = 'GET',
): Promise<Answer & { payment: SignedPayment; answerToken: string }> {
  const offer = await call(gateway, pathAndQuery, { method });
  if (offer.status !== 402) throw new Error(`expected an offer, got ${JSON.stringify(offer)}`);
  const document = decodeBase64Json(String(offer.headers['payment-required'])) as {
    accepts: { network: string; amount: string; extra: { answerToken: string } }[];
  };
  const accepted = document.accepts.find(each => each.network === 'eip155:8453');
  const answerToken = accepted?.extra.answerToken ?? '';
  const payment = await sign(gateway, payer, Number(accepted?.amount) / 1e6);
  return { ...(await call(gateway, pathAndQuery, { payment, method, answerToken })), payment, answerToken };
}

/** Subscribes a wallet and says what came of it. */
export async function subscribe(
  gateway: MobulaGateway,
  payer: PrivateKeyAccount,
  plan = 'startup',
  frequency = 'monthly',
  more = '',
): Promise<{ apiKey: string; agentId: string }> {
  const answer = await pay(gateway, payer, `/subscribe?plan=${plan}&payment_frequency=${frequency}${more}`);
  if (answer.status !== 200) throw new Error(JSON.stringify(answer.body));
  return { apiKey: String(answer.body['api_key']), agentId: String(answer.body['user_id']) };
}

export async function status(gateway: MobulaGateway, payer: PrivateKeyAccount) {
  const answer = await pay(gateway, payer, '/subscription');
  if (answer.status !== 200) throw new Error(JSON.stringify(answer.body));
  return answer.body;
}

/** Rows of the ledger that break a rule; none in good books. */
export async function ledgerBreaks(gateway: TestGateway): Promise<unknown[]> {
  return (await gateway.sql.query('SELECT * FROM cell_0.ledger_breaks()')).rows;
}
