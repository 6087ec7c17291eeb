/**
 * What a facilitator's error code proves. It never proves that money moved or did not: only the chain does.
 * It decides two smaller things, whether a refusal to verify is about the payment, and whether a failed
 * settle call sent nothing, so that another facilitator may be asked.
 *
 * The codes are those of the x402 specifications (versions 1 and 2), of `x402` 1.2.0 and of `@x402/core`,
 * `@x402/evm` and `@x402/svm` 2.27.0. A code that is not listed is `unknown`.
 *
 * One more thing proves that a settle call sent nothing, and it has no code: the status 401, 403 or 429 without a result. An
 * answer with that status that is a result is judged by its code, and one that only names a transaction is unknown.
 */

/**
 * - `before_broadcast`: in every known implementation given before anything is signed or sent.
 * - `after_broadcast`: given for a transaction that was mined without moving the money; true once the chain
 *   shows the transaction it names.
 * - `already_used`: the permission is consumed on chain, perhaps by an earlier call of the same facilitator.
 * - `ambiguous`: given before sending and for a failure while or after sending alike.
 * - `facilitator`: the facilitator's own trouble; nothing is said about the payment.
 * - `unknown`: not in the table.
 */
export type ReasonClass =
  | 'before_broadcast'
  | 'after_broadcast'
  | 'already_used'
  | 'ambiguous'
  | 'facilitator'
  | 'unknown';

const BEFORE_BROADCAST = [
  // Specification and core.
  'invalid_network',
  'invalid_payload',
  'invalid_payment',
  'invalid_payment_requirements',
  'invalid_scheme',
  'unsupported_scheme',
  'unsupported_payload_type',
  'unsupported_payment_flow',
  'unsupported_asset_transfer_method',
  'invalid_x402_version',
  'missing_scheme',
  'missing_facilitator',
  'extension_echo_mismatch',
  'network_mismatch',
  // EIP-3009.
  'invalid_exact_evm_payload_signature',
  'invalid_exact_evm_payload_recipient_mismatch',
  'invalid_exact_evm_payload_authorization_value',
  'invalid_exact_evm_payload_authorization_value_mismatch',
  'invalid_exact_evm_payload_undeployed_smart_wallet',
  'invalid_exact_evm_scheme',
  'invalid_exact_evm_network_mismatch',
  'invalid_exact_evm_missing_eip712_domain',
  'invalid_exact_evm_recipient_mismatch',
  'invalid_exact_evm_authorization_value',
  'invalid_exact_evm_token_name_mismatch',
  'invalid_exact_evm_token_version_mismatch',
  'invalid_exact_evm_eip3009_not_supported',
  'invalid_exact_evm_failed_to_parse_signature',
  'asset_not_deployed_contract',
  'eip6492_factory_not_allowed',
  // Permit2 and the sponsoring of its allowance.
  'invalid_permit2_spender',
  'invalid_permit2_recipient_mismatch',
  'permit2_deadline_expired',
  'permit2_not_yet_valid',
  'permit2_amount_mismatch',
  'permit2_token_mismatch',
  'permit2_allowance_required',
  'permit2_proxy_not_deployed',
  'invalid_eip2612_extension_format',
  'eip2612_from_mismatch',
  'eip2612_asset_mismatch',
  'eip2612_spender_not_permit2',
  'eip2612_deadline_expired',
  'invalid_erc20_approval_extension_format',
  'erc20_approval_from_mismatch',
  'erc20_approval_asset_mismatch',
  'erc20_approval_spender_not_permit2',
  'erc20_approval_tx_wrong_target',
  'erc20_approval_tx_wrong_selector',
  'erc20_approval_tx_wrong_spender',
  'erc20_approval_tx_invalid_calldata',
  'erc20_approval_tx_signer_mismatch',
  'erc20_approval_tx_invalid_signature',
  'erc20_approval_tx_parse_failed',
  // Solana.
  'fee_payer_not_managed_by_facilitator',
  'invalid_exact_svm_unsupported_scheme',
  'invalid_exact_svm_network_mismatch',
  'invalid_exact_svm_payload_missing_fee_payer',
  'invalid_exact_svm_fee_payer_not_managed_by_facilitator',
  'invalid_exact_svm_payload_transaction',
  'invalid_exact_svm_payload_transaction_could_not_be_decoded',
  'invalid_exact_svm_payload_signature_invalid',
  'invalid_exact_svm_payload_excessive_signers',
  'invalid_exact_svm_payload_transaction_instructions',
  'invalid_exact_svm_payload_transaction_instructions_length',
  'invalid_exact_svm_payload_transaction_instructions_compute_limit_instruction',
  'invalid_exact_svm_payload_transaction_instructions_compute_limit_instruction_too_high',
  'invalid_exact_svm_payload_transaction_instructions_compute_price_instruction',
  'invalid_exact_svm_payload_transaction_instructions_compute_price_instruction_too_high',
  'invalid_exact_svm_payload_transaction_instruction_not_spl_token_transfer_checked',
  'invalid_exact_svm_payload_transaction_instruction_not_token_2022_transfer_checked',
  'invalid_exact_svm_payload_transaction_not_a_transfer_instruction',
  'invalid_exact_svm_payload_transaction_create_ata_instruction',
  'invalid_exact_svm_payload_transaction_create_ata_instruction_incorrect_asset',
  'invalid_exact_svm_payload_transaction_create_ata_instruction_incorrect_payee',
  'invalid_exact_svm_payload_transaction_fee_payer_included_in_instruction_accounts',
  'invalid_exact_svm_payload_transaction_fee_payer_transferring_funds',
  'invalid_exact_svm_payload_transaction_transfer_to_incorrect_ata',
  'invalid_exact_svm_payload_transaction_receiver_ata_not_found',
  'invalid_exact_svm_payload_transaction_sender_ata_not_found',
  'invalid_exact_svm_payload_transaction_amount_mismatch',
  'invalid_exact_svm_payload_unknown_fourth_instruction',
  'invalid_exact_svm_payload_unknown_fifth_instruction',
  'invalid_exact_svm_payload_unknown_sixth_instruction',
  'invalid_exact_svm_payload_unknown_seventh_instruction',
  'invalid_exact_svm_payload_unknown_optional_instruction',
  'invalid_exact_svm_payload_no_transfer_instruction',
  'invalid_exact_svm_payload_mint_mismatch',
  'invalid_exact_svm_payload_recipient_mismatch',
  'invalid_exact_svm_payload_amount_mismatch',
  'invalid_exact_svm_payload_memo_mismatch',
  'invalid_exact_svm_payload_memo_count',
  'invalid_exact_svm_invalid_fee_payer',
  'invalid_exact_svm_fee_payer_mismatch',
  'invalid_exact_svm_transaction_signing_failed',
  'invalid_exact_svm_smart_wallet_fee_payer_not_isolated',
  'invalid_exact_svm_smart_wallet_malformed_compute_budget',
  'invalid_exact_svm_smart_wallet_malformed_compute_limit',
  'invalid_exact_svm_smart_wallet_malformed_compute_price',
  'invalid_exact_svm_smart_wallet_compute_units_too_high',
  'invalid_exact_svm_smart_wallet_priority_fee_too_high',
  'invalid_exact_svm_smart_wallet_unsupported_compute_budget_instruction',
  'invalid_exact_svm_smart_wallet_alt_resolution_not_available',
  'invalid_exact_svm_smart_wallet_alt_resolution_failed',
  'invalid_exact_svm_smart_wallet_verification_not_available',
  'invalid_exact_svm_smart_wallet_compute_budget_violation',
  'invalid_exact_svm_smart_wallet_cannot_derive_destination_ata',
  'invalid_exact_svm_smart_wallet_no_transfer_in_simulation',
  'invalid_exact_svm_smart_wallet_transfer_mismatch',
  'invalid_exact_svm_smart_wallet_multiple_matching_transfers',
  'invalid_exact_svm_smart_wallet_program_not_allowed',
] as const;

/** The same codes are also given without a transaction, for a broadcast that failed in an unknown way. */
const AFTER_BROADCAST = [
  'invalid_transaction_state',
  'invalid_exact_evm_transaction_failed',
  'invalid_exact_evm_transfer_event_mismatch',
  'invalid_exact_svm_transaction_failed',
  'transaction_failed',
  'post_settlement_transfer_not_confirmed',
] as const;

const ALREADY_USED = [
  'invalid_exact_evm_nonce_already_used',
  'permit2_invalid_nonce',
  'duplicate_settlement',
] as const;

/**
 * The official scheme maps the text of any error that its wallet throws while it sends to the first six of
 * these; simulations of a payment that was settled a moment ago fail with the last ones.
 */
const AMBIGUOUS = [
  'insufficient_funds',
  'invalid_exact_evm_signature',
  'invalid_exact_evm_insufficient_balance',
  'invalid_exact_evm_payload_authorization_valid_after',
  'invalid_exact_evm_payload_authorization_valid_before',
  'invalid_permit2_signature',
  'permit2_invalid_amount',
  'permit2_invalid_destination',
  'permit2_invalid_owner',
  'permit2_payment_too_early',
  'permit2_2612_amount_mismatch',
  'permit2_insufficient_balance',
  'permit2_simulation_failed',
  'erc20_approval_tx_failed',
  'erc20_approval_broadcast_failed',
  'smart_wallet_deployment_failed',
  'invalid_exact_evm_transaction_simulation_failed',
  'invalid_exact_svm_transaction_simulation_failed',
  'invalid_exact_svm_payload_transaction_simulation_failed',
  'invalid_exact_svm_smart_wallet_simulation_failed',
  'transaction_simulation_failed',
  'invalid_exact_svm_verification_failed',
  'verification_failed',
] as const;

const FACILITATOR_TROUBLE = [
  'unexpected_verify_error',
  'unexpected_settle_error',
  'settlement_pending',
  'settle_exact_svm_block_height_exceeded',
  'settle_exact_svm_transaction_confirmation_timed_out',
] as const;

const CLASS_OF: ReadonlyMap<string, ReasonClass> = new Map(
  (
    [
      ['before_broadcast', BEFORE_BROADCAST],
      ['after_broadcast', AFTER_BROADCAST],
      ['already_used', ALREADY_USED],
      ['ambiguous', AMBIGUOUS],
      ['facilitator', FACILITATOR_TROUBLE],
    ] as const
  ).flatMap(([reasonClass, codes]) => codes.map(code => [code, reasonClass] as const)),
);

/** Every code of the table with its class, for tests and for documentation. */
export const REASON_CODES: readonly (readonly [string, ReasonClass])[] = [...CLASS_OF];

/**
 * Looks a code up. The official Permit2 scheme appends a text to its codes (`code: text`), which is ignored.
 */
export function classifyReason(reason: string | undefined): ReasonClass {
  const code = reason?.split(':', 1)[0] ?? '';
  return CLASS_OF.get(code) ?? 'unknown';
}

/** What a facilitator answered to a settle request, as far as its form could be read. */
export interface SettleAnswer {
  success: boolean;
  reason: string | undefined;
  /** A well-formed transaction id, in canonical form. */
  transaction: string | undefined;
}

/**
 * What an answer to a settle call amounts to:
 * - `said_settled`: it claims success; the chain has to confirm it.
 * - `said_reverted`: it claims that a mined transaction failed; the chain has to confirm it.
 * - `refused`: this call sent nothing, so another facilitator may be asked.
 * - `unknown`: anything else, and every code that we do not know. A transaction that it names is looked for.
 */
export type SettleVerdict = 'said_settled' | 'said_reverted' | 'refused' | 'unknown';

/** Judges an answer to a settle call. Pure; the table above is its data. */
export function judgeSettleAnswer(answer: SettleAnswer): SettleVerdict {
  if (answer.success) return 'said_settled';
  const reasonClass = classifyReason(answer.reason);
  // Naming a transaction contradicts having sent nothing: then nothing is known.
  if (reasonClass === 'before_broadcast') return answer.transaction === undefined ? 'refused' : 'unknown';
  if (reasonClass === 'after_broadcast' && answer.transaction !== undefined) return 'said_reverted';
  return 'unknown';
}

/**
 * What a refusal to verify amounts to. Verifying sends nothing, so more codes are believed than after a
 * settle call:
 * - `invalid`: the payment is refused.
 * - `already_used`: only the chain tells by whom and to what effect.
 * - `doubtful`: the official schemes report a dead node with the same code, or the code is not known; another
 *   facilitator is asked, and only if there is none the payment is refused.
 */
export type VerifyVerdict = 'invalid' | 'already_used' | 'doubtful';

const DOUBTFUL_IN_VERIFY: ReadonlySet<string> = new Set([
  'invalid_exact_evm_signature',
  'invalid_exact_evm_transaction_simulation_failed',
  'invalid_exact_svm_transaction_simulation_failed',
  'transaction_simulation_failed',
  'permit2_simulation_failed',
  'invalid_permit2_signature',
  'verification_failed',
  'invalid_exact_svm_verification_failed',
]);

/** Judges a refusal to verify. Pure. */
export function judgeVerifyRefusal(reason: string | undefined): VerifyVerdict {
  const reasonClass = classifyReason(reason);
  if (reasonClass === 'already_used') return 'already_used';
  if (reasonClass === 'before_broadcast') return 'invalid';
  if (reasonClass === 'ambiguous' && !DOUBTFUL_IN_VERIFY.has(reason ?? '')) return 'invalid';
  return 'doubtful';
}
