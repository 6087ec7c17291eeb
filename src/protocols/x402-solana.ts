import { isStorableText } from '../lib/storable-text.ts';
import { findTokenTransfer } from '../lib/svm-token.ts';
import { MAX_TRANSACTION_BYTES, readSvmTransaction } from '../lib/svm-transaction.ts';
import type { SolanaPayment } from '../ports/payment.ts';
import { type Fields, refusal, wrongRecipient } from './x402-fields.ts';
import type { ExactOption } from './x402-option.ts';

const FIELD = 'payload.transaction';
const MAX_BASE64_LENGTH = Math.ceil(MAX_TRANSACTION_BYTES / 3) * 4;

/** Longer than the network's clients sign (256 bytes), so that it can only be meant as an attack. */
const MAX_MEMO_CHARACTERS = 256;

/**
 * Reads the payload of a payment on Solana: a transaction that the payer has signed and the fee payer has not.
 * What it pays, and to whom, is read from its token transfer. Whether all of it may be signed is the
 * facilitator's question.
 * @param memo what the accepted requirements demand as the transaction's memo
 */
export function readSolanaPayment(
  payload: Fields,
  option: ExactOption & { tokenAccount: string; tokenProgram: string },
  memo: string | undefined,
): SolanaPayment {
  if (!('transaction' in payload) && ('authorization' in payload || 'permit2Authorization' in payload)) {
    throw refusal('payment_unusable', 'payload', 'only a signed transaction is accepted on this network');
  }
  const wire = readBase64(payload['transaction']);
  const view = wire && readSvmTransaction(wire);
  const [feePayer] = view?.signers ?? [];
  if (!view || !feePayer) {
    throw refusal('payment_malformed', FIELD, 'the transaction must be base64 of a legacy or version 0 one');
  }
  if (view.usesLookupTables) {
    throw refusal('payment_unusable', FIELD, 'a transaction with address lookup tables is not accepted');
  }
  const transfer = findTokenTransfer(view);
  if (!transfer) throw refusal('payment_unusable', FIELD, 'the transaction holds no plain token transfer');
  if (transfer.mint !== option.asset || transfer.program !== option.tokenProgram) {
    throw refusal('unsupported_asset', FIELD, 'the transaction transfers another token');
  }
  if (transfer.destination !== option.tokenAccount) throw wrongRecipient(FIELD);
  if (transfer.amountBaseUnits === 0n) {
    throw refusal('invalid_amount', FIELD, 'the transferred amount must be positive');
  }
  if (memo !== undefined && (memo.length > MAX_MEMO_CHARACTERS || !isStorableText(memo))) {
    throw refusal('payment_malformed', 'accepted.extra.memo', 'the memo is too long, or no text');
  }
  return {
    kind: 'solana',
    scheme: 'exact',
    network: option.network,
    asset: option.asset,
    payTo: option.payTo,
    payer: transfer.authority,
    amountBaseUnits: transfer.amountBaseUnits,
    identity: `svm:${option.network.slice('solana:'.length)}:${view.messageHash}`,
    transaction: {
      wire: Buffer.from(wire).toString('base64'),
      feePayer: feePayer.address,
      blockhash: view.blockhash,
      source: transfer.source,
      destination: transfer.destination,
      ...(memo === undefined ? {} : { memo }),
    },
  };
}

/** Standard base64 in its one spelling; Buffer alone would skip what it does not understand. */
function readBase64(value: unknown): Uint8Array | undefined {
  if (typeof value !== 'string' || value.length === 0 || value.length > MAX_BASE64_LENGTH) return undefined;
  const bytes = Buffer.from(value, 'base64');
  return bytes.toString('base64') === value ? Uint8Array.from(bytes) : undefined;
}
