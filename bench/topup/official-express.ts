import type { AddressInfo } from 'node:net';
import { x402Facilitator } from '@x402/core/facilitator';
import type { FacilitatorClient } from '@x402/core/server';
import { toFacilitatorEvmSigner } from '@x402/evm';
import { ExactEvmScheme as EvmFacilitator } from '@x402/evm/exact/facilitator';
import { ExactEvmScheme as EvmServer } from '@x402/evm/exact/server';
import { paymentMiddleware, x402ResourceServer } from '@x402/express';
import express from 'express';
import { createWalletClient, type Hex, http, nonceManager, publicActions } from 'viem';
import { privateKeyToAccount } from 'viem/accounts';
import { base } from 'viem/chains';
import { findEvmNetwork } from '../../src/chains/evm-networks.ts';
import { announce } from '../offer/serve.ts';

/** As fast as the official parts go: the nonce is counted in memory, and the chain is asked often. */
const POLL_MS = 20;

const network = process.env['NETWORKS'] as `${string}:${string}`;
const row = findEvmNetwork(network);
if (!row) throw new Error(`${network} is not in the table of networks`);

const account = privateKeyToAccount(process.env['EVM_PRIVATE_KEY'] as Hex, { nonceManager });
const client = createWalletClient({
  account,
  chain: base,
  transport: http(process.env['BASE_RPC_URL']),
  pollingInterval: POLL_MS,
}).extend(publicActions);
const signer = toFacilitatorEvmSigner({ ...client, address: account.address } as never);
const scheme = new EvmFacilitator(signer);
const embedded = new x402Facilitator().register(network, scheme);

/** The facilitator in the same process: no network call between the two is measured. */
const facilitator: FacilitatorClient = {
  getSupported: () => Promise.resolve(embedded.getSupported() as never),
  verify: (payload, requirements) => embedded.verify(payload, requirements),
  settle: (payload, requirements) => embedded.settle(payload, requirements),
};

const app = express();
app.use(
  paymentMiddleware(
    {
      'POST /api/v1/x402/top-up': {
        accepts: {
          scheme: 'exact',
          network,
          payTo: process.env['EVM_PAY_TO'] ?? '',
          price: {
            asset: row.usdc.address,
            amount: '5000000',
            extra: { name: row.usdc.name, version: row.usdc.version },
          },
          maxTimeoutSeconds: row.maxTimeoutSeconds,
        },
      },
    },
    new x402ResourceServer(facilitator).register(network, new EvmServer()),
  ),
);
app.post('/api/v1/x402/top-up', (_request, response) => {
  response.json({ paid: true });
});
const server = app.listen(0, '127.0.0.1', () => announce((server.address() as AddressInfo).port));
