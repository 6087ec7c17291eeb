import type { AddressInfo } from 'node:net';
import type { x402Facilitator } from '@x402/core/facilitator';
import type { FacilitatorClient } from '@x402/core/server';
import type { SchemeNetworkServer } from '@x402/core/types';
import { paymentMiddleware, x402ResourceServer } from '@x402/express';
import express from 'express';
import { announce } from '../offer/serve.ts';

/** The official classes for one network, with the settings of the run. */
export interface OfficialParts {
  facilitator: x402Facilitator;
  server: SchemeNetworkServer;
  asset: string;
  extra: Record<string, string>;
  payTo: string;
  maxTimeoutSeconds: number;
}

const network = process.env['NETWORKS'] as `${string}:${string}`;
const parts = network.startsWith('solana:')
  ? await (await import('./official-svm.ts')).officialSvm(network)
  : (await import('./official-evm.ts')).officialEvm(network);
const { facilitator: embedded, server: scheme, asset, extra, payTo, maxTimeoutSeconds } = parts;

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
          payTo,
          price: { asset, amount: '5000000', extra },
          maxTimeoutSeconds,
        },
      },
    },
    new x402ResourceServer(facilitator).register(network, scheme),
  ),
);
app.post('/api/v1/x402/top-up', (_request, response) => {
  response.json({ paid: true });
});
const server = app.listen(0, '127.0.0.1', () => announce((server.address() as AddressInfo).port));
