import { canonicalEvmAddress } from '../lib/evm-address.ts';
import type { Eip3009Authorization, Eip3009Payment } from '../ports/payment.ts';
import {
  amountOf,
  evmPayerOf,
  type Fields,
  objectOf,
  refusal,
  signatureOf,
  timeOf,
  wrongRecipient,
} from './x402-fields.ts';
import type { ExactOption } from './x402-option.ts';

const BYTES32 = /^0x[0-9a-fA-F]{64}$/;
const PATH = 'payload.authorization';

/** Reads the usual payload of a payment on an EVM network: an EIP-3009 authorization with its signature. */
export function readEip3009Payment(payload: Fields, option: ExactOption): Eip3009Payment {
  const authorization = readAuthorization(payload, option);
  const chainId = option.network.slice('eip155:'.length);
  return {
    kind: 'eip3009',
    scheme: 'exact',
    network: option.network,
    asset: option.asset,
    payTo: option.payTo,
    payer: authorization.from,
    amountBaseUnits: authorization.value,
    identity: `eip3009:${chainId}:${option.asset}:${authorization.from}:${authorization.nonce}`,
    authorization,
  };
}

function readAuthorization(payload: Fields, option: ExactOption): Eip3009Authorization {
  if (!('authorization' in payload) && ('permit2Authorization' in payload || 'transaction' in payload)) {
    throw refusal(
      'payment_unusable',
      'payload',
      'only EIP-3009 transferWithAuthorization payments are accepted on this network',
    );
  }
  const authorization = objectOf(payload['authorization'], PATH);
  const from = evmPayerOf(authorization['from'], `${PATH}.from`);
  const to = authorization['to'];
  if (typeof to !== 'string' || canonicalEvmAddress(to) !== option.payTo) throw wrongRecipient(`${PATH}.to`);
  const value = amountOf(authorization['value'], `${PATH}.value`);
  const nonce = authorization['nonce'];
  if (typeof nonce !== 'string' || !BYTES32.test(nonce)) {
    throw refusal('payment_malformed', `${PATH}.nonce`, 'the nonce must be 32 bytes as 0x hex');
  }
  return {
    from,
    to: option.payTo,
    value,
    validAfter: timeOf(authorization, 'validAfter', PATH),
    validBefore: timeOf(authorization, 'validBefore', PATH),
    nonce: nonce.toLowerCase(),
    signature: signatureOf(payload['signature'], 'payload.signature'),
  };
}
