import type { Pool } from 'pg';
import { generatePrivateKey, privateKeyToAddress } from 'viem/accounts';
import type { TestGateway } from './gateway.ts';
import { BASE_USDC, createPayer, paymentJson, type SignedPayment, signPayment } from './payment.ts';

const KEYS = { 'shop-a': 'key-of-shop-a'.repeat(4), 'shop-b': 'key-of-shop-b'.repeat(4) };

/** Settings of a gateway that settles for `shop-a` and `shop-b`. */
export const FACILITATOR_SETTINGS = { FACILITATOR_API_KEYS: JSON.stringify(KEYS) };

/** Another seller: nobody has its key. */
export const SELLER = privateKeyToAddress(generatePrivateKey());

export const FOREIGN_AMOUNT = 3_000_000n;

export const newForeignPayment = async (): Promise<SignedPayment> =>
  signPayment(await createPayer(100n), SELLER, FOREIGN_AMOUNT);

/** Settles a payment to whom it is signed for, as `shop-a` unless another caller is named. */
export function settleForSeller(
  on: TestGateway,
  payment: SignedPayment,
  caller: keyof typeof KEYS = 'shop-a',
) {
  const paymentRequirements = {
    scheme: 'exact',
    network: 'eip155:8453',
    amount: payment.authorization.value.toString(),
    asset: BASE_USDC,
    payTo: payment.authorization.to,
    maxTimeoutSeconds: 300,
    extra: { name: 'USD Coin', version: '2' },
  };
  const payload = paymentJson(payment);
  return on.app.inject({
    method: 'POST',
    url: '/facilitator/settle',
    headers: { authorization: `Bearer ${KEYS[caller]}` },
    payload: {
      x402Version: 2,
      paymentPayload: { x402Version: 2, accepted: paymentRequirements, payload },
      paymentRequirements,
    },
  });
}

export async function foreignStateOf(
  sql: Pool,
  { authorization }: SignedPayment,
): Promise<string | undefined> {
  const { rows } = await sql.query(
    'SELECT state FROM directory.facilitator_settlement WHERE identity LIKE $1',
    [`%${authorization.nonce.toLowerCase()}`],
  );
  return rows[0]?.state;
}
