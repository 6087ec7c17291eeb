import { type Static, Type } from 'typebox';
import { Value } from 'typebox/value';
import type { ExactPayment } from '../ports/payment.ts';

const Digits = Type.String({ pattern: '^(0|[1-9][0-9]*)$' });

/** The signed permission as it is stored: integers are decimal strings, because JSON numbers lose them. */
const StoredPayment = Type.Object({
  scheme: Type.Literal('exact'),
  network: Type.String(),
  asset: Type.String(),
  payTo: Type.String(),
  payer: Type.String(),
  amountBaseUnits: Digits,
  identity: Type.String(),
  authorization: Type.Object({
    kind: Type.Literal('eip3009'),
    from: Type.String(),
    to: Type.String(),
    value: Digits,
    validAfter: Digits,
    validBefore: Digits,
    nonce: Type.String(),
    signature: Type.String(),
  }),
});

export function encodeSigned(payment: ExactPayment): string {
  return JSON.stringify(payment, (_, value: unknown) =>
    typeof value === 'bigint' ? value.toString() : value,
  );
}

/** @throws when the stored object is not what {@link encodeSigned} writes: the row was changed by hand. */
export function decodeSigned(stored: unknown): ExactPayment {
  const payment: Static<typeof StoredPayment> = Value.Parse(StoredPayment, stored);
  const { authorization } = payment;
  return {
    ...payment,
    amountBaseUnits: BigInt(payment.amountBaseUnits),
    authorization: {
      ...authorization,
      value: BigInt(authorization.value),
      validAfter: BigInt(authorization.validAfter),
      validBefore: BigInt(authorization.validBefore),
    },
  };
}
