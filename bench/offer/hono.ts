import type { AddressInfo } from 'node:net';
import { serve } from '@hono/node-server';
import type { FacilitatorClient } from '@x402/core/server';
import { ExactEvmScheme } from '@x402/evm/exact/server';
import { paymentMiddleware, x402ResourceServer } from '@x402/hono';
import { Hono } from 'hono';
import { findEvmNetwork } from '../../src/chains/evm-networks.ts';
import { announce } from './serve.ts';

const NETWORK = 'eip155:8453';
const base = findEvmNetwork(NETWORK);
if (!base) throw new Error(`${NETWORK} is not in the table of networks`);

const refuse = (): never => {
  throw new Error('an offer asks the facilitator for nothing but what it supports');
};

/** A facilitator in the same process: no network call is measured. */
const facilitator: FacilitatorClient = {
  getSupported: () =>
    Promise.resolve({
      kinds: [{ x402Version: 2, scheme: 'exact', network: NETWORK }],
      extensions: [],
      signers: {},
    }),
  verify: refuse,
  settle: refuse,
};

const app = new Hono();
app.use(
  paymentMiddleware(
    {
      'POST /api/v1/x402/top-up': {
        accepts: {
          scheme: 'exact',
          network: NETWORK,
          payTo: `0x${'1'.repeat(40)}`,
          price: {
            asset: base.usdc.address,
            amount: '5000000',
            extra: { name: base.usdc.name, version: base.usdc.version },
          },
          maxTimeoutSeconds: base.maxTimeoutSeconds,
        },
      },
    },
    new x402ResourceServer(facilitator).register(NETWORK, new ExactEvmScheme()),
  ),
);
app.post('/api/v1/x402/top-up', context => context.json({ paid: true }));

const server = serve({ fetch: app.fetch, hostname: '127.0.0.1', port: 0 }, (info: AddressInfo) =>
  announce(info.port),
);
server.on('error', refuse);
