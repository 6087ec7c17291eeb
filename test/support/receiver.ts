import { createServer, type IncomingHttpHeaders, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';

/** One request as it arrived: the very bytes, and when. */
export interface Arrival {
  atMs: number;
  path: string;
  headers: IncomingHttpHeaders;
  body: string;
}

/** Receives webhooks on this machine and answers as it is told. */
export interface Receiver {
  url: string;
  arrivals: Arrival[];
  /** Statuses of the next answers; `hang` never answers. The last one stays. */
  answers: (number | 'hang')[];
  close(): Promise<void>;
}

export async function startReceiver(): Promise<Receiver> {
  const arrivals: Arrival[] = [];
  const receiver: Pick<Receiver, 'answers'> = { answers: [200] };
  const server: Server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const { headers, url: path = '' } = request;
      arrivals.push({ atMs: Date.now(), path, headers, body: Buffer.concat(chunks).toString('utf8') });
      const { answers } = receiver;
      const answer = (answers.length > 1 ? answers.shift() : answers[0]) ?? 200;
      if (answer !== 'hang') response.writeHead(answer).end();
    });
  });
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
  return Object.assign(receiver, {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/hook`,
    arrivals,
    async close() {
      server.closeAllConnections();
      await new Promise(resolve => server.close(resolve));
    },
  });
}
