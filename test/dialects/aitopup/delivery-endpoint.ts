import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Arrival } from '../../support/receiver.ts';

/** What the operator's endpoint says next: an object as JSON, a text as it is, a status, or nothing at all (`hang`). */
export type Say = object | string | number;

/** An operator's endpoint that is asked to deliver top-ups. */
export interface DeliveryEndpoint {
  url: string;
  arrivals: Arrival[];
  /** The last one stays. */
  says: Say[];
  /** Requests that wait for an answer. */
  waiting(): number;
  /** Settings of a gateway that asks it. */
  settings: { DELIVERY_URL: string; DELIVERY_SECRET: string };
  close(): Promise<void>;
}

export const DELIVERY_SECRET = `whsec_${Buffer.alloc(32, 7).toString('base64')}`;

export async function startDeliveryEndpoint(...says: Say[]): Promise<DeliveryEndpoint> {
  const arrivals: Arrival[] = [];
  const endpoint = { says };
  let waiting = 0;
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const { headers, url: path = '' } = request;
      arrivals.push({ atMs: Date.now(), path, headers, body: Buffer.concat(chunks).toString('utf8') });
      const say = (endpoint.says.length > 1 ? endpoint.says.shift() : endpoint.says[0]) ?? 500;
      if (say === 'hang') {
        waiting += 1;
        response.on('close', () => {
          waiting -= 1;
        });
      } else if (typeof say === 'number') response.writeHead(say).end('{"status":"delivered"}');
      else response.writeHead(200).end(typeof say === 'string' ? say : JSON.stringify(say));
    });
  });
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/deliver`;
  return Object.assign(endpoint, {
    url,
    arrivals,
    waiting: () => waiting,
    settings: { DELIVERY_URL: url, DELIVERY_SECRET },
    async close() {
      server.closeAllConnections();
      await new Promise(resolve => server.close(resolve));
    },
  });
}
