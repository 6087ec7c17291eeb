import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { createJsonRpc, type JsonRpc } from '../../../src/chains/json-rpc.ts';
import { GatewayError } from '../../../src/lib/errors.ts';

interface Call {
  id: number;
  params: string[];
}

type Respond = (calls: Call | Call[], response: ServerResponse, request: IncomingMessage) => void;

let server: Server;
let rpc: JsonRpc;
/** Parameters of the calls of each request, in the order of arrival. */
let requests: string[][];
let respond: Respond;

const reply = ({ id, params: [text = ''] }: Call) => ({ jsonrpc: '2.0', id, result: text.toUpperCase() });
const honest: Respond = (calls, response) =>
  void response.end(JSON.stringify(Array.isArray(calls) ? calls.map(reply).toReversed() : reply(calls)));

/** Answers a single call as a node does, and several with whatever is given. */
const alone =
  (many: Respond): Respond =>
  (calls, response, request) =>
    Array.isArray(calls) ? many(calls, response, request) : honest(calls, response, request);

beforeEach(async () => {
  requests = [];
  respond = honest;
  server = createServer((request, response) => {
    void body(request).then(text => {
      const calls = JSON.parse(text) as Call | Call[];
      requests.push([calls].flat().map(({ params: [name = ''] }) => name));
      respond(calls, response, request);
    });
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  rpc = createJsonRpc({ title: 'Base', rpcUrl: `http://127.0.0.1:${port}/`, timeoutMs: 1_000 });
});

afterEach(() => {
  server.closeAllConnections();
  server.close();
});

async function body(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString();
}

const ask = (...names: string[]) =>
  Promise.all(names.map(async name => (await rpc.callShared('echo', [name])).result));

describe('calls that may share a request', () => {
  it('do so when they come together, and each gets its own answer in whatever order they come back', async () => {
    expect(await ask('a', 'b', 'c')).toEqual(['A', 'B', 'C']);
    expect(requests).toEqual([['a', 'b', 'c']]);
  });

  it('are a plain call when one comes alone', async () => {
    respond = (calls, response, request) => {
      expect(calls).toMatchObject({ jsonrpc: '2.0', id: 1, method: 'echo', params: ['a'] });
      honest(calls, response, request);
    };
    expect(await ask('a')).toEqual(['A']);
  });

  it('share it only with calls of their own method, and ten at a time', async () => {
    const names = Array.from({ length: 12 }, (_, n) => `n${n}`);
    const [answers, other] = await Promise.all([ask(...names), rpc.callShared('other', ['o'])]);
    expect([answers, other.result]).toEqual([names.map(name => name.toUpperCase()), 'O']);
    expect(requests.map(({ length }) => length).toSorted((a, b) => a - b)).toEqual([1, 2, 10]);
  });

  it('get each its own error', async () => {
    respond = alone((calls, response) => {
      const [first, ...rest] = calls as [Call, ...Call[]];
      const error = { code: 3, message: 'execution reverted' };
      response.end(JSON.stringify([{ jsonrpc: '2.0', id: first.id, error }, ...rest.map(reply)]));
    });
    const answers = await Promise.all(['a', 'b'].map(name => rpc.callShared('echo', [name])));
    expect(answers).toMatchObject([{ error: { code: 3 } }, { result: 'B' }]);
    expect(requests).toEqual([['a', 'b']]);
  });

  it.each([
    [
      'one refusal for all',
      (_, response) => void response.end('{"error":{"code":-32600,"message":"no batches"}}'),
    ],
    ['a page', (_, response) => void response.writeHead(403).end('<html>paid plans only</html>')],
    [
      'an answer too few',
      (calls, response) => void response.end(JSON.stringify([reply((calls as Call[])[0] as Call)])),
    ],
    [
      'answers to other calls',
      (calls, response) =>
        void response.end(JSON.stringify((calls as Call[]).map(call => reply({ ...call, id: call.id + 7 })))),
    ],
    ['nothing', (calls, response) => void response.end(JSON.stringify((calls as Call[]).map(() => null)))],
  ] satisfies [string, Respond][])(
    'go alone with a node that answers several with %s, and are not tried together again soon',
    async (_name, many) => {
      respond = alone(many);
      expect(await ask('a', 'b', 'c')).toEqual(['A', 'B', 'C']);
      expect(requests.map(({ length }) => length)).toEqual([3, 1, 1, 1]);
      expect(await ask('d', 'e')).toEqual(['D', 'E']);
      expect(requests.map(({ length }) => length)).toEqual([3, 1, 1, 1, 1, 1]);
    },
  );

  it.each([
    ['closes the connection', (_, __, request) => void request.socket.destroy()],
    ['says nothing', () => undefined],
  ] satisfies [string, Respond][])(
    'are not sent again when the node %s: who knows what it did; the next ones go alone',
    async (_name, many) => {
      respond = alone(many);
      const lost = await Promise.allSettled(['a', 'b'].map(name => rpc.callShared('echo', [name])));
      for (const { status, reason } of lost as PromiseRejectedResult[]) {
        expect([status, reason instanceof GatewayError && reason.code]).toEqual(['rejected', 'unavailable']);
      }
      expect(requests).toEqual([['a', 'b']]);
      expect(await ask('c', 'd')).toEqual(['C', 'D']);
      expect(requests.slice(1).map(({ length }) => length)).toEqual([1, 1]);
    },
  );

  it('are asked again alone when each of several was refused, and are still shared after that', async () => {
    const refuse = ({ id }: Call) => ({ jsonrpc: '2.0', id, error: { code: -32600, message: 'no batches' } });
    respond = alone((calls, response) => void response.end(JSON.stringify((calls as Call[]).map(refuse))));
    expect(await ask('a', 'b')).toEqual(['A', 'B']);
    respond = honest;
    expect(await ask('c', 'd')).toEqual(['C', 'D']);
    expect(requests).toEqual([['a', 'b'], ['a'], ['b'], ['c', 'd']]);
  });

  it.each([429, 503])(
    'are not made more when the node says %i, and are shared again at once',
    async status => {
      respond = alone(
        (_, response) => void response.writeHead(status).end('{"error":{"message":"too much"}}'),
      );
      const busy = await Promise.allSettled(['a', 'b'].map(name => rpc.callShared('echo', [name])));
      expect(busy).toMatchObject([{ reason: { code: 'unavailable' } }, { reason: { code: 'unavailable' } }]);
      respond = honest;
      expect(await ask('c', 'd')).toEqual(['C', 'D']);
      expect(requests).toEqual([
        ['a', 'b'],
        ['c', 'd'],
      ]);
    },
  );

  it.each(['null', '"text"', '{}', '{"message":"API rate limit exceeded"}', '{"error":null}'])(
    'take %s, which is neither result nor error, for an unavailable node',
    async text => {
      respond = (_, response) => void response.end(text);
      await expect(rpc.callShared('echo', ['a'])).rejects.toMatchObject({ code: 'unavailable' });
      await expect(rpc.call('echo', ['a'])).rejects.toMatchObject({ code: 'unavailable' });
    },
  );

  it('are tried together again after a rest, by one request at a time', async () => {
    const clock = vi.spyOn(performance, 'now');
    try {
      clock.mockReturnValue(1_000);
      respond = alone((_, response) => void response.end('{"error":{"message":"no batches"}}'));
      await ask('a', 'b');
      clock.mockReturnValue(61_001);
      await ask('c', 'd');
      // The second rest is longer.
      clock.mockReturnValue(122_000);
      await ask('e', 'f');
      expect(requests.filter(({ length }) => length > 1)).toEqual([
        ['a', 'b'],
        ['c', 'd'],
      ]);
      respond = honest;
      clock.mockReturnValue(182_000);
      expect(await ask('g', 'h')).toEqual(['G', 'H']);
      expect(await ask('i', 'j')).toEqual(['I', 'J']);
      expect(requests.slice(-2)).toEqual([
        ['g', 'h'],
        ['i', 'j'],
      ]);
    } finally {
      clock.mockRestore();
    }
  });
});
