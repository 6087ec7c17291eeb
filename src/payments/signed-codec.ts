import { type Static, Type } from 'typebox';
import { Value } from 'typebox/value';
import type { ExactPayment } from '../ports/payment.ts';

const Digits = Type.String({ pattern: '^(0|[1-9][0-9]*)$' });

const terms = {
  scheme: Type.Literal('exact'),
  network: Type.String(),
  asset: Type.String(),
  payTo: Type.String(),
  payer: Type.String(),
  amountBaseUnits: Digits,
  identity: Type.String(),
};

/** The signed permission as it is stored: integers are decimal strings, because JSON numbers lose them. */
const StoredEip3009 = Type.Object({
  ...terms,
  kind: Type.Literal('eip3009'),
  authorization: Type.Object({
    from: Type.String(),
    to: Type.String(),
    value: Digits,
    validAfter: Digits,
    validBefore: Digits,
    nonce: Type.String(),
    signature: Type.String(),
  }),
});

const StoredPermit2 = Type.Object({
  ...terms,
  kind: Type.Literal('permit2'),
  permit: Type.Object({
    from: Type.String(),
    to: Type.String(),
    token: Type.String(),
    amount: Digits,
    nonce: Digits,
    deadline: Digits,
    validAfter: Digits,
    signature: Type.String(),
    allowance: Type.Optional(Type.Object({ nonce: Digits, deadline: Digits, signature: Type.String() })),
  }),
});

const StoredSolana = Type.Object({
  ...terms,
  kind: Type.Literal('solana'),
  transaction: Type.Object({
    wire: Type.String(),
    feePayer: Type.String(),
    blockhash: Type.String(),
    source: Type.String(),
    destination: Type.String(),
    memo: Type.Optional(Type.String()),
  }),
});

const StoredTempo = Type.Object({
  ...terms,
  kind: Type.Literal('tempo'),
  transfer: Type.Object({
    hash: Type.String(),
    raw: Type.Optional(Type.String()),
    validBefore: Digits,
    memo: Type.String(),
    credential: Type.String(),
  }),
});

const StoredPayment = Type.Union([StoredEip3009, StoredPermit2, StoredSolana, StoredTempo]);

export function encodeSigned(payment: ExactPayment): string {
  return JSON.stringify(payment, (_, value: unknown) =>
    typeof value === 'bigint' ? value.toString() : value,
  );
}

/** @throws when the stored object is not what {@link encodeSigned} writes: the row was changed by hand. */
export function decodeSigned(stored: unknown): ExactPayment {
  const payment: Static<typeof StoredPayment> = Value.Parse(StoredPayment, stored);
  const amountBaseUnits = BigInt(payment.amountBaseUnits);
  if (payment.kind === 'solana') return { ...payment, amountBaseUnits };
  if (payment.kind === 'tempo') {
    const { transfer } = payment;
    return {
      ...payment,
      amountBaseUnits,
      transfer: { ...transfer, validBefore: BigInt(transfer.validBefore) },
    };
  }
  if (payment.kind === 'permit2') {
    const { amount, nonce, deadline, validAfter, allowance, ...permit } = payment.permit;
    return {
      ...payment,
      amountBaseUnits,
      permit: {
        ...permit,
        amount: BigInt(amount),
        nonce: BigInt(nonce),
        deadline: BigInt(deadline),
        validAfter: BigInt(validAfter),
        ...(allowance && {
          allowance: {
            ...allowance,
            nonce: BigInt(allowance.nonce),
            deadline: BigInt(allowance.deadline),
          },
        }),
      },
    };
  }
  const { authorization } = payment;
  return {
    ...payment,
    amountBaseUnits,
    authorization: {
      ...authorization,
      value: BigInt(authorization.value),
      validAfter: BigInt(authorization.validAfter),
      validBefore: BigInt(authorization.validBefore),
    },
  };
}
