/**
 * Runs the published venice-x402-client, unmodified, from this folder's packages. Reads JSON lines on
 * standard input: first `{ apiUrl, privateKey }`, then `{ id, method, args }` for each call. Writes one line
 * per HTTP exchange, `{ http }`, and one per call, `{ id, result, balance }` or `{ id, error, balance }`.
 */
import { createInterface } from 'node:readline';
import { VeniceClient } from 'venice-x402-client';

const write = line => process.stdout.write(`${JSON.stringify(line)}\n`);

const plainFetch = globalThis.fetch;

/** Sees what the client sends and gets, and changes nothing. */
globalThis.fetch = async (input, init) => {
  const request = new Request(input, init);
  const response = await plainFetch(input, init);
  const url = new URL(request.url);
  const receipt = response.headers.get('payment-response');
  const isJson = response.headers.get('content-type')?.includes('json');
  write({
    http: {
      method: request.method,
      path: url.pathname + url.search,
      sentHeaders: [...request.headers.keys()],
      status: response.status,
      ...(receipt ? { paymentResponse: JSON.parse(Buffer.from(receipt, 'base64').toString('utf8')) } : {}),
      ...(isJson ? { body: await response.clone().json() } : {}),
    },
  });
  return response;
};

function findMethod(client, name) {
  const path = name.split('.');
  const method = path.pop();
  const owner = path.reduce((object, key) => object[key], client);
  return owner[method].bind(owner);
}

async function answer(client, { id, method, args }) {
  try {
    const result = await findMethod(client, method)(...args);
    write({ id, result: result ?? null, balance: client.balance });
  } catch (error) {
    const { message, code, details } = error;
    write({ id, error: { message, code, details }, balance: client.balance });
  }
}

let client;
for await (const line of createInterface({ input: process.stdin })) {
  const message = JSON.parse(line);
  if (client) await answer(client, message);
  else client = new VeniceClient(message.privateKey, { apiUrl: message.apiUrl });
}
