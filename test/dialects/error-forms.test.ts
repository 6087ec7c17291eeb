import { once } from 'node:events';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startGateway, type TestGateway } from '../support/gateway.ts';

/** An answer as every form is checked: lower-case header names. */
interface Answer {
  status: number;
  headers: Record<string, unknown>;
  body: string;
}

const TEXT = 'text/plain; charset=utf-8';
const JSON_TYPE = /^application\/json/;

/** Checks of each owner's form. */
const forms = {
  dria({ headers, body }: Answer) {
    expect([headers['content-type'], headers['access-control-allow-origin']]).toEqual([TEXT, '*']);
    expect(body).toMatch(/^[^{}\n]+$/);
  },
  venice({ headers, body }: Answer) {
    expect(headers['content-type']).toMatch(JSON_TYPE);
    expect(headers['access-control-allow-origin']).toBe('*');
    expect(JSON.parse(body)).toMatchObject({ error: expect.stringMatching(/^[A-Z]/) });
    expect(JSON.parse(body)).not.toHaveProperty('statusCode');
  },
  aitopup({ headers, body }: Answer) {
    expect([headers['content-type'], headers['cache-control']]).toEqual([
      'application/json; charset=utf-8',
      'no-store',
    ]);
    const members = ['success', 'code', 'transaction_id', 'status', 'timestamp', 'data'];
    expect(Object.keys(JSON.parse(body))).toEqual(members);
  },
  mobula({ headers, body }: Answer) {
    expect(headers['content-type']).toMatch(JSON_TYPE);
    expect(headers['access-control-allow-origin']).toBe('*');
    expect(JSON.parse(body)).toMatchObject({ error: expect.any(String), message: expect.any(String) });
  },
  mpp({ headers, body }: Answer) {
    expect(headers['content-type']).toMatch(/^application\/problem\+json/);
    expect(JSON.parse(body)).toMatchObject({ type: 'about:blank', detail: expect.any(String) });
  },
  own({ headers, body }: Answer) {
    expect(headers['content-type']).toMatch(JSON_TYPE);
    expect(JSON.parse(body)).toMatchObject({ error: expect.any(String), message: expect.any(String) });
    expect(JSON.parse(body)).not.toHaveProperty('statusCode');
  },
} satisfies Record<string, (answer: Answer) => void>;

type Form = keyof typeof forms;

let gateway: TestGateway;

beforeAll(async () => {
  gateway = await startGateway();
});

afterAll(async () => {
  await gateway?.stop();
});

describe('a path that cannot be read', () => {
  const tooLong = 'x'.repeat(200);

  it.each<[Form, string]>([
    ['dria', '/v1/%zz'],
    ['dria', '/v1/credits/balance%ff'],
    ['dria', '/v1/channel%?channel=general'],
    ['venice', '/api/v1/%zz'],
    ['venice', '/api/v1/x402/top-up/%zz'],
    ['venice', '/api/v1/x402/balance/%zz'],
    ['venice', `/api/v1/x402/balance/${tooLong}`],
    ['venice', `/api/v1/x402/transactions/${tooLong}?limit=1`],
    ['aitopup', '/api/public/v1/%zz'],
    ['aitopup', '/api/public/v1/topup/status/%e0%a4%a'],
    ['aitopup', `/api/public/v1/topup/status/${tooLong}`],
    ['aitopup', '/api/public/mcp/%zz'],
    ['mobula', '/agent/x402/%zz'],
    ['mpp', '/agent/mpp/%zz'],
    ['own', '/%zz'],
    ['own', '/v1x/%zz'],
    ['own', `/payments/${tooLong}`],
    ['own', '/admin/v1/%zz'],
  ])('is answered in the form of %s: %s', async (form, url) => {
    for (const method of ['GET', 'POST'] as const) {
      const answer = await gateway.app.inject({ method, url });
      expect([400, 404, 405]).toContain(answer.statusCode);
      if (method === 'GET') expect(answer.statusCode).toBe(400);
      forms[form]({ status: answer.statusCode, headers: answer.headers, body: answer.body });
      expect(answer.body).not.toContain('FST_');
    }
  });

  it('is answered in our own form where the dialect is not served', async () => {
    const small = await startGateway({ replicaOf: gateway, settings: { DIALECTS: 'venice' } });
    const { statusCode, headers, body } = await small.app.inject('/v1/%zz');
    forms.own({ status: statusCode, headers, body });
    await small.stop();
  });
});

describe('a gateway that is being stopped', () => {
  /** A request that has begun when the stop begins, and is sent completely after it. */
  async function begin(port: number, url: string, method = 'GET') {
    const socket = connect(port, '127.0.0.1');
    await once(socket, 'connect');
    socket.write(`${method} ${url} HTTP/1.1\r\nHost: gateway\r\n`);
    return { socket, rest: () => readAnswer(socket) };
  }

  async function readAnswer(socket: Socket): Promise<Answer> {
    let text = '';
    socket.on('data', (chunk: Buffer) => {
      text += chunk.toString();
    });
    socket.write('Content-Length: 0\r\n\r\n');
    await once(socket, 'close');
    const [head = '', body = ''] = text.split('\r\n\r\n');
    const [statusLine = '', ...lines] = head.split('\r\n');
    const headers = Object.fromEntries(
      lines.map(line => {
        const colon = line.indexOf(': ');
        return [line.slice(0, colon).toLowerCase(), line.slice(colon + 2)];
      }),
    );
    return { status: Number(statusLine.split(' ')[1]), headers, body };
  }

  it('refuses what comes late in the form of its dialect, and says when to come back', async () => {
    const stopping = await startGateway({ replicaOf: gateway });
    await stopping.app.listen({ host: '127.0.0.1', port: 0 });
    const { port } = stopping.app.server.address() as AddressInfo;
    const calls: [Form, string, string][] = [
      ['dria', '/v1/credits/topup', 'POST'],
      ['dria', '/v1/credits/balance', 'GET'],
      ['dria', '/v1/nothing', 'GET'],
      ['venice', '/api/v1/x402/top-up', 'POST'],
      ['venice', '/api/v1/x402/balance/0x1', 'GET'],
      ['aitopup', '/api/public/v1/topup/balance', 'GET'],
      ['aitopup', '/api/public/v1/nothing', 'GET'],
      ['aitopup', '/api/public/mcp', 'POST'],
      ['mobula', '/agent/x402/subscription', 'GET'],
      ['own', '/nothing', 'GET'],
      ['own', '/admin/v1/webhooks', 'GET'],
    ];
    const begun = await Promise.all(calls.map(([, url, method]) => begin(port, url, method)));
    const [health, ready] = [await begin(port, '/healthz'), await begin(port, '/readyz')];
    // The server must have read the beginnings, or it takes the connections for idle ones.
    await expect.poll(() => connectionsOf(stopping)).toBe(calls.length + 2);
    const stopped = stopping.app.close();

    for (const [index, [form]] of calls.entries()) {
      const answer = await (begun[index]?.rest() ?? expect.unreachable());
      expect([answer.status, answer.headers['retry-after'], answer.headers['connection']]).toEqual([
        503,
        '2',
        'close',
      ]);
      forms[form](answer);
    }
    expect((await health.rest()).status).toBe(200);
    const { status, body } = await ready.rest();
    expect([status, JSON.parse(body)]).toMatchObject([503, { status: 'draining' }]);
    await stopped;
    await stopping.services.stop();
    await stopping.sql.end();
  });

  const connectionsOf = ({ app }: TestGateway) =>
    new Promise<number>((resolve, reject) => {
      app.server.getConnections((error, count) => (error ? reject(error) : resolve(count)));
    });
});
