import { once } from 'node:events';
import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { inspect } from 'node:util';
import { afterEach, describe, expect, it } from 'vitest';
import { createEvmClient } from '../../../src/chains/evm-client.ts';
import { GatewayError } from '../../../src/lib/errors.ts';
import { EvmRevertError } from '../../../src/ports/evm-client.ts';

const SECRET = 'secret-api-key';
let server: Server | undefined;

afterEach(() => {
  server?.closeAllConnections();
  server?.close();
});

async function clientOf(listener: RequestListener, timeoutMs = 300) {
  server = createServer(listener).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const rpcUrl = `http://user:${SECRET}@127.0.0.1:${port}/v2/${SECRET}?key=${SECRET}`;
  return createEvmClient({ network: 'eip155:8453', title: 'Base', rpcUrl, timeoutMs });
}

const answering =
  (body: unknown, status = 200, headers: Record<string, string> = {}): RequestListener =>
  (_request, response) =>
    void response.writeHead(status, headers).end(typeof body === 'string' ? body : JSON.stringify(body));

async function failureOf(work: Promise<unknown>): Promise<Error> {
  return work.then(
    () => {
      throw new Error('it did not fail');
    },
    (error: Error) => error,
  );
}

describe('the node client', () => {
  it('reads a result, with the credentials of the URL in a header', async () => {
    let seen = '';
    const client = await clientOf((request, response) => {
      seen = String(request.headers.authorization);
      response.end(JSON.stringify({ jsonrpc: '2.0', id: 1, result: '0x2105' }));
    });
    expect(await client.chainId()).toBe(8453);
    expect(Buffer.from(seen.replace('Basic ', ''), 'base64').toString()).toBe(`user:${SECRET}`);
  });

  it.each([
    ['code 3', { code: 3, message: 'execution reverted: FiatTokenV2: invalid signature' }],
    ['words', { code: -32000, message: 'VM Exception: execution reverted: FiatTokenV2: invalid signature' }],
  ])('tells a revert by %s', async (_name, error) => {
    const client = await clientOf(answering({ jsonrpc: '2.0', id: 1, error }));
    const failure = await failureOf(client.call('0x1', '0x'));
    expect(failure).toBeInstanceOf(EvmRevertError);
    expect((failure as EvmRevertError).reason).toBe('FiatTokenV2: invalid signature');
  });

  it.each([
    ['an error of the node', answering({ error: { code: -32005, message: 'limit exceeded' } })],
    ['a status without JSON', answering('<html>bad gateway</html>', 502)],
    ['a long wait asked for', answering('slow down', 429, { 'retry-after': '3600' })],
    ['a redirect', answering('', 302, { location: 'http://127.0.0.1:1/' })],
    ['a closed connection', request => request.socket.destroy()],
    ['silence', () => undefined],
    [
      'an answer that never ends',
      (_request, response) => {
        response.writeHead(200);
        const drip = setInterval(() => response.write(' '), 20);
        response.on('close', () => clearInterval(drip));
      },
    ],
  ] satisfies [string, RequestListener][])(
    'takes %s for an unavailable node, and shows nothing of its URL',
    async (_name, listener) => {
      const client = await clientOf(listener);
      const failure = await failureOf(client.blockNumber());
      expect(failure).toBeInstanceOf(GatewayError);
      expect((failure as GatewayError).code).toBe('unavailable');
      expect(inspect(failure, { depth: 10 })).not.toContain(SECRET);
      expect(failure.cause).toBeInstanceOf(Error);
    },
  );

  it('takes the receipt of another transaction for an unavailable node', async () => {
    const [asked, other] = ['1', '2'].map(digit => `0x${digit.repeat(64)}`) as [string, string];
    const receipt = { blockNumber: '0x1', blockHash: '0xb', status: '0x0', logs: [] };
    let transactionHash = other;
    const client = await clientOf((_request, response) => {
      response.end(JSON.stringify({ jsonrpc: '2.0', id: 1, result: { ...receipt, transactionHash } }));
    });
    await expect(client.receipt(asked)).rejects.toMatchObject({ code: 'unavailable' });
    transactionHash = asked;
    expect(await client.receipt(asked)).toMatchObject({ transactionHash: asked, succeeded: false });
  });

  it('lets calls of the token share a request, and none that runs code of a payer', async () => {
    const sizes: number[] = [];
    const client = await clientOf((request, response) => {
      let text = '';
      request.on('data', chunk => {
        text += chunk;
      });
      request.on('end', () => {
        const calls = JSON.parse(text) as { id: number } | { id: number }[];
        const answers = [calls].flat().map(({ id }) => ({ jsonrpc: '2.0', id, result: '0x01' }));
        sizes.push(answers.length);
        response.end(JSON.stringify(Array.isArray(calls) ? answers : answers[0]));
      });
    });
    const own = ['0x1', '0x2'].map(to => client.call(to, '0x'));
    const foreign = ['0x3', '0x4'].map(to => client.call(to, '0x', { foreignCode: true }));
    expect(await Promise.all([...own, ...foreign])).toEqual(['0x01', '0x01', '0x01', '0x01']);
    expect(sizes.toSorted((a, b) => a - b)).toEqual([1, 1, 2]);
  });

  it('takes a port where nobody listens for an unavailable node', async () => {
    const client = createEvmClient({
      network: 'eip155:8453',
      title: 'Base',
      rpcUrl: `http://127.0.0.1:1/${SECRET}`,
      timeoutMs: 300,
    });
    const failure = await failureOf(client.blockNumber());
    expect((failure as GatewayError).code).toBe('unavailable');
    expect(inspect(failure, { depth: 10 })).not.toContain(SECRET);
  });
});
