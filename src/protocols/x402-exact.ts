import { decodeBase64Json } from '../lib/base64.ts';
import { canonicalEvmAddress } from '../lib/evm-address.ts';
import type { ExactPayment } from '../ports/payment.ts';
import { readEip3009Payment } from './x402-eip3009.ts';
import { type Fields, objectOf, refusal, textOf, wrongRecipient } from './x402-fields.ts';
import type { ExactOption } from './x402-option.ts';
import { readPermit2Payment } from './x402-permit2.ts';
import { readSolanaPayment } from './x402-solana.ts';

/** Longer than any honest payment; the HTTP server's own limit for all headers together is the same. */
const MAX_HEADER_LENGTH = 16_384;

/**
 * Reads the value of a payment header: base64 of a JSON payment payload of the scheme `exact`. Three shapes are in use, and which one is sent does not depend on the version number alone:
 * the chosen requirements in `accepted` (version 2), or `scheme` and `network` at the top (version 1, and
 * clients that put version 2 on the older shape).
 *
 * Only the form and the destination are checked here. Amount limits belong to the caller; signature,
 * validity window and balance to the verification.
 * @param options the ways to pay that are offered; their order decides nothing
 * @returns the payment with addresses in canonical form
 * @throws GatewayError payment_malformed, payment_unusable, unsupported_network, unsupported_scheme,
 * unsupported_asset, recipient_mismatch, invalid_payer or invalid_amount, with `details.field`
 */
export function decodeExactPayment(header: string, options: readonly ExactOption[]): ExactPayment {
  const root = objectOf(header.length <= MAX_HEADER_LENGTH ? decodeBase64Json(header) : undefined, 'payment');
  const version = root['x402Version'];
  if (version !== 1 && version !== 2) {
    throw refusal('payment_malformed', 'x402Version', 'x402Version must be 1 or 2');
  }
  const option = 'accepted' in root ? acceptedOption(root, version, options) : namedOption(root, options);
  const payload = objectOf(root['payload'], 'payload');
  if (!option.solana) {
    const isPermit2 = option.permit2 !== undefined && 'permit2Authorization' in payload;
    return isPermit2
      ? readPermit2Payment(payload, option, root['extensions'])
      : readEip3009Payment(payload, option);
  }
  return readSolanaPayment(payload, { ...option, ...option.solana }, demandedMemo(root['accepted']));
}

/** Version 2: the payer repeats the requirements that it chose. */
function acceptedOption(root: Fields, version: number, options: readonly ExactOption[]): ExactOption {
  if (version !== 2) {
    throw refusal('payment_malformed', 'accepted', 'accepted belongs to x402Version 2');
  }
  const accepted = objectOf(root['accepted'], 'accepted');
  requireExactScheme(accepted, 'accepted.scheme');
  const onNetwork = optionsOnNetwork(accepted, 'accepted.network', options);
  const asset = textOf(accepted, 'asset', 'accepted.asset');
  const withAsset = onNetwork.filter(option => option.asset === canonicalAddress(asset, option));
  if (withAsset.length === 0) {
    throw refusal('unsupported_asset', 'accepted.asset', 'this token is not accepted on this network');
  }
  const payTo = textOf(accepted, 'payTo', 'accepted.payTo');
  const option = withAsset.find(candidate => candidate.payTo === canonicalAddress(payTo, candidate));
  if (!option) throw wrongRecipient('accepted.payTo');
  return option;
}

/**
 * The older shape names no token. What is signed does: it binds the token's address, so a permission for any
 * other token than the first one offered on the network is refused.
 */
function namedOption(root: Fields, options: readonly ExactOption[]): ExactOption {
  requireExactScheme(root, 'scheme');
  const [option] = optionsOnNetwork(root, 'network', options);
  return option;
}

function requireExactScheme(from: Fields, field: string): void {
  if (textOf(from, 'scheme', field) !== 'exact') {
    throw refusal('unsupported_scheme', field, 'only the scheme exact is accepted');
  }
}

function optionsOnNetwork(
  from: Fields,
  field: string,
  options: readonly ExactOption[],
): [ExactOption, ...ExactOption[]] {
  const network = textOf(from, 'network', field);
  const [first, ...others] = options.filter(option =>
    [option.network, option.networkAlias].includes(network),
  );
  if (!first) throw refusal('unsupported_network', field, 'this network is not accepted');
  return [first, ...others];
}

/** EVM addresses have many spellings, Solana's have one. */
function canonicalAddress(text: string, option: ExactOption): string | undefined {
  return option.solana ? text : canonicalEvmAddress(text);
}

/** The memo of the requirements that a version 2 payer repeats; it signed none where there is none. */
function demandedMemo(accepted: unknown): string | undefined {
  const extra = (accepted as { extra?: { memo?: unknown } | null } | undefined)?.extra;
  return typeof extra?.memo === 'string' && extra.memo !== '' ? extra.memo : undefined;
}
