/**
 * Makes one call of the Dria dialect with a published client, unmodified, from this folder's packages. Reads one
 * line of JSON, `{ action, origin, apiKey, amount?, privateKey?, options? }`, and writes one: what `action` answers,
 * with `requests`, the HTTP exchanges that it took, or `{ error: { name, message, status } }`. Each client is loaded
 * when it is needed: all of them take seconds.
 */
import { createInterface } from 'node:readline';

const requests = [];

/** Sees what the client sends and gets; hides the version 2 offer when asked to. */
function watchedFetch({ hideSecondOffer = false } = {}) {
  return async (input, init) => {
    const sent = new Headers(init?.headers ?? (input instanceof Request ? input.headers : {}));
    const response = await fetch(input, init);
    requests.push({ status: response.status, sentHeaders: [...sent.keys()] });
    if (!hideSecondOffer) return response;
    const headers = new Headers(response.headers);
    headers.delete('payment-required');
    return new Response(response.body, { status: response.status, headers });
  };
}

function topUpInit({ apiKey, amount, options }) {
  const headers = { Authorization: `Bearer ${apiKey}`, 'Content-Type': 'application/json' };
  return {
    method: 'POST',
    headers: options?.headersObject ? new Headers(headers) : headers,
    body: JSON.stringify({ amount }),
  };
}

/** @param decoders readers of the receipts in `x-payment-response` and `payment-response` */
async function readResponse(response, decoders) {
  const text = await response.text();
  const isJson = response.headers.get('content-type')?.includes('json');
  const receipts = Object.entries(decoders).flatMap(([name, decode]) => {
    const header = response.headers.get(name);
    return header ? [[name, decode(header)]] : [];
  });
  return {
    status: response.status,
    body: isJson ? JSON.parse(text) : text,
    receipts: Object.fromEntries(receipts),
  };
}

async function accountOf(privateKey) {
  const { privateKeyToAccount } = await import('viem/accounts');
  return privateKeyToAccount(privateKey);
}

const topUpUrl = ({ origin }) => `${origin}/v1/credits/topup`;

const ACTIONS = {
  async 'x402-fetch'(order) {
    const { decodeXPaymentResponse, wrapFetchWithPayment } = await import('x402-fetch');
    const limit = order.options?.limit === undefined ? [] : [BigInt(order.options.limit)];
    const pay = wrapFetchWithPayment(watchedFetch(), await accountOf(order.privateKey), ...limit);
    const response = await pay(topUpUrl(order), topUpInit(order));
    return readResponse(response, { 'x-payment-response': decodeXPaymentResponse });
  },

  async '@x402/fetch'(order) {
    const { decodePaymentResponseHeader, wrapFetchWithPayment, x402Client } = await import('@x402/fetch');
    const { registerExactEvmScheme } = await import('@x402/evm/exact/client');
    const client = new x402Client();
    registerExactEvmScheme(client, { signer: await accountOf(order.privateKey) });
    const { limit } = order.options ?? {};
    if (limit !== undefined) client.setSpendControls({ maxAmountPerPayment: limit });
    const pay = wrapFetchWithPayment(watchedFetch(order.options), client);
    const decode = decodePaymentResponseHeader;
    const response = await pay(topUpUrl(order), topUpInit(order));
    return readResponse(response, { 'x-payment-response': decode, 'payment-response': decode });
  },

  async 'x402-axios'(order) {
    const { default: axios } = await import('axios');
    const { decodeXPaymentResponse, withPaymentInterceptor } = await import('x402-axios');
    const client = withPaymentInterceptor(axios.create(), await accountOf(order.privateKey));
    const { headers, body } = topUpInit(order);
    const response = await client.post(topUpUrl(order), body, { headers });
    const receipt = decodeXPaymentResponse(response.headers['x-payment-response']);
    return { status: response.status, body: response.data, receipts: { 'x-payment-response': receipt } };
  },

  /** The offer, read by the clients' own schemas. */
  async schemas(order) {
    const { PaymentRequirementsSchema } = await import('x402/types');
    const { PaymentRequiredV1Schema, PaymentRequiredV2Schema } = await import('@x402/core/schemas');
    const response = await fetch(topUpUrl(order), topUpInit(order));
    const body = await response.json();
    const header = Buffer.from(response.headers.get('payment-required'), 'base64').toString('utf8');
    return {
      status: response.status,
      first: body.accepts.map(entry => PaymentRequirementsSchema.parse(entry)),
      firstInSecond: PaymentRequiredV1Schema.parse(body),
      second: PaymentRequiredV2Schema.parse(JSON.parse(header)),
    };
  },

  async openai({ origin, apiKey, options }) {
    const { default: OpenAI } = await import('openai');
    const client = new OpenAI({
      apiKey,
      baseURL: options?.baseUrl ?? `${origin}/v1`,
      fetch: watchedFetch(),
      maxRetries: options?.maxRetries ?? 0,
    });
    const page = await client.models.list();
    return { models: page.data };
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const order = JSON.parse(line);
  let result;
  try {
    result = await ACTIONS[order.action](order);
  } catch (error) {
    const { name, message, status } = error;
    result = { error: { name: error.constructor?.name ?? name, message, status } };
  }
  process.stdout.write(`${JSON.stringify({ ...result, requests })}\n`);
  break;
}
