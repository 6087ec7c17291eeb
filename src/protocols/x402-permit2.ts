import { canonicalEvmAddress } from '../lib/evm-address.ts';
import { EXACT_PROXY_ADDRESS, PERMIT2_ADDRESS, SPONSORING_EXTENSION } from '../lib/permit2.ts';
import type { Permit2Authorization, Permit2Payment } from '../ports/payment.ts';
import {
  amountOf,
  evmPayerOf,
  type Fields,
  objectOf,
  refusal,
  signatureOf,
  timeOf,
  uintOf,
  wrongRecipient,
} from './x402-fields.ts';
import type { ExactOption } from './x402-option.ts';

const PATH = 'payload.permit2Authorization';
const SPONSORING_PATH = `extensions.${SPONSORING_EXTENSION}.info`;
const SIGNATURE_65 = /^0x[0-9a-fA-F]{130}$/;

/**
 * Reads the payload of a Permit2 payment: a transfer through x402's proxy of exact payments with the receiver as
 * its witness, and what the payer signed for its allowance, if it did.
 * @param extensions of the payment payload
 */
export function readPermit2Payment(
  payload: Fields,
  option: ExactOption,
  extensions: unknown,
): Permit2Payment {
  const authorization = objectOf(payload['permit2Authorization'], PATH);
  const permitted = objectOf(authorization['permitted'], `${PATH}.permitted`);
  const witness = objectOf(authorization['witness'], `${PATH}.witness`);
  const from = evmPayerOf(authorization['from'], `${PATH}.from`);
  if (!isAddress(witness['to'], option.payTo)) throw wrongRecipient(`${PATH}.witness.to`);
  if (!isAddress(permitted['token'], option.asset)) {
    throw refusal(
      'unsupported_asset',
      `${PATH}.permitted.token`,
      'this token is not accepted on this network',
    );
  }
  if (!isAddress(authorization['spender'], EXACT_PROXY_ADDRESS)) {
    throw refusal(
      'payment_unusable',
      `${PATH}.spender`,
      'the spender must be the x402 proxy of exact payments',
    );
  }
  const nonce = uintOf(authorization['nonce']);
  if (nonce === undefined) {
    throw refusal('payment_malformed', `${PATH}.nonce`, 'the nonce must be a decimal string');
  }
  const amount = amountOf(permitted['amount'], `${PATH}.permitted.amount`);
  const allowance = readAllowance(extensions, option, { from, amount });
  return {
    kind: 'permit2',
    scheme: 'exact',
    network: option.network,
    asset: option.asset,
    payTo: option.payTo,
    payer: from,
    amountBaseUnits: amount,
    identity: `permit2:${option.network.slice('eip155:'.length)}:${from}:${nonce}`,
    permit: {
      from,
      to: option.payTo,
      token: option.asset,
      amount,
      nonce,
      deadline: timeOf(authorization, 'deadline', PATH),
      validAfter: timeOf(witness, 'validAfter', `${PATH}.witness`),
      signature: signatureOf(payload['signature'], 'payload.signature'),
      ...(allowance && { allowance }),
    },
  };
}

/** The proxy demands that the allowance is of the very amount, and takes a key's signature alone. */
function readAllowance(
  extensions: unknown,
  option: ExactOption,
  { from, amount }: { from: string; amount: bigint },
): Permit2Authorization['allowance'] {
  const extension = (extensions as Record<string, { info?: unknown } | undefined> | undefined)?.[
    SPONSORING_EXTENSION
  ];
  if (!option.permit2?.sponsored || extension?.info === undefined) return undefined;
  const info = objectOf(extension.info, SPONSORING_PATH);
  const { signature } = info;
  // A payer that has allowed Permit2 before repeats the offer's own extension, unsigned.
  if (signature === undefined) return undefined;
  const nonce = uintOf(info['nonce']);
  const isMeant =
    isAddress(info['from'], from) &&
    isAddress(info['asset'], option.asset) &&
    isAddress(info['spender'], PERMIT2_ADDRESS) &&
    uintOf(info['amount']) === amount;
  if (!isMeant || nonce === undefined || typeof signature !== 'string' || !SIGNATURE_65.test(signature)) {
    throw refusal(
      'payment_malformed',
      SPONSORING_PATH,
      'the allowance must be of the payer, for Permit2, in this token and of the very amount, with 65 bytes of signature',
    );
  }
  return {
    nonce,
    deadline: timeOf(info, 'deadline', SPONSORING_PATH),
    signature: signature.toLowerCase(),
  };
}

function isAddress(value: unknown, expected: string): boolean {
  return typeof value === 'string' && canonicalEvmAddress(value) === expected;
}
