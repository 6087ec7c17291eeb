import type { FastifyInstance } from 'fastify';
import type { Static } from 'typebox';
import type { RateLimiters } from '../../http/rate-limit.ts';
import { GatewayError } from '../../lib/errors.ts';
import { canonicalEvmAddress } from '../../lib/evm-address.ts';
import { REGISTER_RATE } from './limits.ts';
import type { DriaOptions } from './options.ts';
import { errorText, json, WalletKeyRequest, WalletKeyResult } from './schemas.ts';

export const WALLET_KEY_PATH = '/auth/wallet';

const schema = {
  operationId: 'driaRegisterWallet',
  tags: ['dria'],
  summary: 'Get an API key for a wallet',
  description:
    'The wallet signs (EIP-191, or ERC-1271 when it is a contract) a text that begins with this host and contains the address and an ISO time of the last five minutes, e.g. `gateway.example wants wallet 0x… to obtain an API key`, a line `Issued At: 2026-11-20T09:30:00Z` and a random `Nonce`. Each text is good once; a sign-in text (EIP-4361) is never good here. Every call makes a new key; older keys stay valid. The key spends the credit of the wallet, also what it bought elsewhere on this gateway.',
  body: WalletKeyRequest,
  response: {
    200: json('The key, which is not shown again', WalletKeyResult),
    400: errorText('The request is malformed, or the environment is not served here'),
    401: errorText('The signature or the text is not good, or the text was used before'),
    429: errorText('Too many calls from this address', ['Retry-After']),
    503: errorText('A part is down, try again', ['Retry-After']),
  },
};

/** `POST /v1/auth/wallet`: the one route without a key. */
export function walletKeyRoute(app: FastifyInstance, options: DriaOptions, limiters: RateLimiters): void {
  const { walletKeys, paymentOptions } = options;
  const onRequest = limiters.perAddress(REGISTER_RATE);
  app.post<{ Body: Static<typeof WalletKeyRequest> }>(
    WALLET_KEY_PATH,
    { schema, onRequest },
    async request => {
      const { environment = 'live', ...proof } = request.body;
      // Such a text is signed as EVM wallets sign, so it names an account of an EVM network.
      const option = paymentOptions.find(
        each => each.environment === environment && each.network.startsWith('eip155:'),
      );
      if (!option) throw malformed(`there are no ${environment} keys here`);
      if (!canonicalEvmAddress(proof.address)) throw malformed('address has a wrong checksum');
      const { network } = option;
      const { apiKey, wallet } = await walletKeys.register({ dialect: 'dria', environment, network, proof });
      // How Dria spells the member is not published, so both usual ways are answered.
      return { api_key: apiKey, apiKey, address: wallet };
    },
  );
}

function malformed(message: string): GatewayError {
  return new GatewayError('malformed_request', message);
}
