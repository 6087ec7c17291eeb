import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { EVM_NETWORKS } from '../../../src/chains/evm-networks.ts';
import { createEvmWallet } from '../../../src/client/evm-wallet.ts';

export const wallet = createEvmWallet(`0x${'11'.repeat(32)}`, EVM_NETWORKS);
export const PAY_TO = '0x52908400098527886E0F7030069857D2E4169EE7';

export interface SeenRequest {
  method: string;
  path: string;
  headers: IncomingMessage['headers'];
  body: string;
}

export interface Reply {
  status: number;
  headers?: Record<string, string>;
  body?: unknown;
}

/** A server that says what a test wants it to say, whatever a good seller would. */
export async function startFakeSeller(answer: (request: SeenRequest, count: number) => Reply) {
  const seen: SeenRequest[] = [];
  const server = createServer((request, response) => {
    let body = '';
    request.on('data', (chunk: Buffer) => {
      body += chunk.toString();
    });
    request.on('end', () => {
      const { method = '', url = '', headers } = request;
      seen.push({ method, path: url, headers, body });
      const reply = answer({ method, path: url, headers, body }, seen.length);
      response.writeHead(reply.status, reply.headers);
      response.end(typeof reply.body === 'string' ? reply.body : JSON.stringify(reply.body ?? {}));
    });
  });
  await new Promise<void>(resolve => {
    server.listen(0, '127.0.0.1', resolve);
  });
  const origin = new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  const stop = () =>
    new Promise<void>(resolve => {
      server.closeAllConnections();
      server.close(() => resolve());
    });
  return { origin, seen, stop };
}

/** An ordinary entry for ten dollars on Base, in the words of both dialects. */
export const entry = {
  scheme: 'exact',
  network: 'eip155:8453',
  amount: '5000000',
  maxAmountRequired: '10000000',
  asset: '0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913',
  payTo: PAY_TO,
  maxTimeoutSeconds: 300,
  extra: { name: 'USD Coin', version: '2' },
};
