import type { ErrorCode } from '../../lib/errors.ts';

/** Reasons of x402 version 1: published clients know these spellings and no others. */
export const REASON = {
  network: 'invalid_network',
  scheme: 'unsupported_scheme',
  requirements: 'invalid_payment_requirements',
  recipient: 'invalid_exact_evm_payload_recipient_mismatch',
  value: 'invalid_exact_evm_payload_authorization_value',
  validBefore: 'invalid_exact_evm_payload_authorization_valid_before',
  validAfter: 'invalid_exact_evm_payload_authorization_valid_after',
  signature: 'invalid_exact_evm_payload_signature',
  funds: 'insufficient_funds',
  duplicate: 'duplicate_settlement',
  state: 'invalid_transaction_state',
  expired: 'payment_expired',
  verify: 'unexpected_verify_error',
  settle: 'unexpected_settle_error',
} as const;

/** What the decoder refuses although it is a well-formed payment: it is not the one that was offered. */
export const REFUSED_BY_FORM: Partial<Record<ErrorCode, string>> = {
  unsupported_network: REASON.network,
  unsupported_scheme: REASON.scheme,
  unsupported_asset: REASON.requirements,
  recipient_mismatch: REASON.recipient,
  invalid_amount: REASON.value,
};

/** Newer facilitators, ours included, spell some reasons otherwise. */
const TRANSLATION: Readonly<Record<string, string>> = {
  invalid_exact_evm_signature: REASON.signature,
  invalid_exact_evm_recipient_mismatch: REASON.recipient,
  invalid_exact_evm_authorization_value: REASON.value,
  invalid_exact_evm_insufficient_balance: REASON.funds,
  invalid_exact_evm_nonce_already_used: REASON.duplicate,
  invalid_exact_evm_transaction_simulation_failed: REASON.state,
  reverted: REASON.state,
  cancelled: REASON.state,
  used_elsewhere: REASON.state,
  expired: REASON.expired,
};

const SPOKEN = new Set<string>(Object.values(REASON));

/** The version 1 spelling of a reason; `fallback` where it has none. */
export function translateReason(reason: string, fallback: string): string {
  return TRANSLATION[reason] ?? (SPOKEN.has(reason) ? reason : fallback);
}
