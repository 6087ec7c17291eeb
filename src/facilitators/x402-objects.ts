import { EXACT_PROXY_ADDRESS, PERMIT2_ADDRESS, SPONSORING_EXTENSION } from '../lib/permit2.ts';
import { type ExactPayment, requireKind } from '../ports/payment.ts';

/** What the x402 objects of a network's payments hold besides the payment itself. */
export interface X402Network {
  /** CAIP-2. */
  network: string;
  /** Its name in version 1. */
  alias: string;
  maxTimeoutSeconds: number;
  /** EIP-712 name and version of the token; absent on Solana. */
  domain?: { name: string; version: string };
}

export type X402Version = 1 | 2;

export interface FacilitatorRequest {
  x402Version: X402Version;
  paymentPayload: Record<string, unknown>;
  paymentRequirements: Record<string, unknown>;
}

/**
 * The body of `/verify` and `/settle` for a payment. The signed bytes are the same in both versions. The payload
 * of version 2 carries nothing optional, because facilitators are known to refuse payloads that do.
 * @param resource URL of what is paid for; version 1 demands one
 */
export function facilitatorRequest(
  payment: ExactPayment,
  network: X402Network,
  version: X402Version,
  resource: string,
): FacilitatorRequest {
  const payload = payloadOf(payment);
  const extra = extraOf(payment, network);
  const common = {
    scheme: payment.scheme,
    asset: payment.asset,
    payTo: payment.payTo,
    maxTimeoutSeconds: network.maxTimeoutSeconds,
    extra,
  };
  const amount = payment.amountBaseUnits.toString();
  if (version === 2) {
    const accepted = { ...common, network: network.network, amount };
    return {
      x402Version: 2,
      paymentPayload: { x402Version: 2, accepted, payload, ...extensionsOf(payment) },
      paymentRequirements: accepted,
    };
  }
  return {
    x402Version: 1,
    paymentPayload: { x402Version: 1, scheme: payment.scheme, network: network.alias, payload },
    paymentRequirements: {
      ...common,
      network: network.alias,
      maxAmountRequired: amount,
      resource,
      description: 'prepaid credit',
      mimeType: 'application/json',
    },
  };
}

function payloadOf(payment: ExactPayment): Record<string, unknown> {
  if (payment.kind === 'solana') return { transaction: payment.transaction.wire };
  if (payment.kind === 'permit2') {
    const { from, to, token, amount, nonce, deadline, validAfter, signature } = payment.permit;
    return {
      signature,
      permit2Authorization: {
        from,
        permitted: { token, amount: amount.toString() },
        spender: EXACT_PROXY_ADDRESS,
        nonce: nonce.toString(),
        deadline: deadline.toString(),
        witness: { to, validAfter: validAfter.toString() },
      },
    };
  }
  const { from, to, value, validAfter, validBefore, nonce, signature } = requireKind(
    payment,
    'eip3009',
  ).authorization;
  return {
    signature,
    authorization: {
      from,
      to,
      value: value.toString(),
      validAfter: validAfter.toString(),
      validBefore: validBefore.toString(),
      nonce,
    },
  };
}

function extraOf(payment: ExactPayment, { domain }: X402Network): Record<string, string> {
  if (payment.kind === 'solana') {
    const { feePayer, memo } = payment.transaction;
    return { feePayer, ...(memo === undefined ? {} : { memo }) };
  }
  const named = domain ? { name: domain.name, version: domain.version } : {};
  return payment.kind === 'permit2' ? { ...named, assetTransferMethod: 'permit2' } : named;
}

/** The only extension that a payment may need: what the payer signed for its allowance. */
function extensionsOf(payment: ExactPayment): Record<string, unknown> {
  if (payment.kind !== 'permit2' || !payment.permit.allowance) return {};
  const { from, token, amount, allowance } = payment.permit;
  const info = {
    from,
    asset: token,
    spender: PERMIT2_ADDRESS,
    amount: amount.toString(),
    nonce: allowance.nonce.toString(),
    deadline: allowance.deadline.toString(),
    signature: allowance.signature,
    version: '1',
  };
  return { extensions: { [SPONSORING_EXTENSION]: { info } } };
}
