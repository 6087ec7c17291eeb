/**
 * Makes calls of the Mobula dialect with published clients, unmodified, from this folder's packages. Each line of JSON
 * that it reads is an order, and is answered by one line. `client` is the version of the @x402 packages and the kind of
 * wallet, e.g. `2.22.0 evm`.
 * `{ client, privateKey, solanaRpcUrl?, calls: [{ url, method? }] }` is answered by an array with
 * `{ statuses, body, offered, receipt }` or `{ error }` for each call;
 * `{ client, privateKey, solanaRpcUrl?, topUp: { apiUrl, agentId, amountUsd } }` by `{ exitCode, lines }`, which is what
 * the published top-up scripts come to and print.
 */
import { createInterface } from 'node:readline';

const PACKAGES = {
  '2.22.0': { core: 'x402-core-2-22', evm: 'x402-evm-2-22', svm: 'x402-svm-2-22' },
  '2.27.0': { core: '@x402/core', evm: '@x402/evm', svm: '@x402/svm' },
};

async function createClient({ client: name, privateKey, solanaRpcUrl }) {
  const [version, wallet] = name.split(' ');
  const packages = PACKAGES[version];
  const { x402Client, x402HTTPClient } = await import(`${packages.core}/client`);
  const client = new x402Client();
  if (wallet === 'evm') {
    const { registerExactEvmScheme } = await import(`${packages.evm}/exact/client`);
    const { privateKeyToAccount } = await import('viem/accounts');
    registerExactEvmScheme(client, { signer: privateKeyToAccount(privateKey) });
  } else {
    const { ExactSvmScheme } = await import(`${packages.svm}/exact/client`);
    const { createKeyPairSignerFromPrivateKeyBytes } = await import('@solana/kit');
    const signer = await createKeyPairSignerFromPrivateKeyBytes(Buffer.from(privateKey, 'hex'));
    client.register('solana:*', new ExactSvmScheme(signer, { rpcUrl: solanaRpcUrl }));
  }
  // From 2.23.0 on a client pays a dollar at most until it is told otherwise.
  if (version === '2.27.0') client.setSpendControls({ maxAmountPerPayment: '$5000' });
  return new x402HTTPClient(client);
}

/** The first request: what it costs, as the published scripts read it from the header. */
async function ask(client, { url, method = 'GET' }) {
  const response = await fetch(url, { method });
  if (response.status !== 402) return { status: response.status, body: await response.json() };
  if (!response.headers.get('payment-required')) throw new Error('Missing payment-required header');
  const required = client.getPaymentRequiredResponse(
    name => response.headers.get(name),
    await response.json(),
  );
  return { status: 402, required };
}

/** The same request with a signed payment. */
async function pay(client, { url, method = 'GET' }, required) {
  const headers = client.encodePaymentSignatureHeader(await client.createPaymentPayload(required));
  const response = await fetch(url, { method, headers });
  const receipt = response.ok
    ? client.getPaymentSettleResponse(name => response.headers.get(name))
    : undefined;
  return { status: response.status, body: await response.json(), receipt };
}

async function call(client, order) {
  const first = await ask(client, order);
  if (!first.required) return { statuses: [first.status], body: first.body };
  const offered = first.required.accepts.map(({ network }) => network);
  const { status, body, receipt } = await pay(client, order, first.required);
  return { statuses: [402, status], body, offered, receipt };
}

/** The steps of the published scripts: the plan's status, which costs something itself, and then the top-up. */
async function topUp(client, { apiUrl, agentId, amountUsd }) {
  const lines = [];
  const print = line => lines.push(line);
  const exit = (exitCode, line) => ({ exitCode, lines: [...lines, line] });
  const priceOf = ({ accepts }) => `$${Number(accepts[0].amount) / 1e6}`;

  const statusOrder = { url: `${apiUrl}/agent/x402/subscription` };
  const asked = await ask(client, statusOrder);
  if (!asked.required) return exit(1, `status: ${asked.status} ${JSON.stringify(asked.body)}`);
  print(`[1] the status costs ${priceOf(asked.required)}`);
  const { status, body: plan } = await pay(client, statusOrder, asked.required);
  if (status === 404) return exit(1, '[2] no agent for this wallet: subscribe first');
  if (status !== 200) return exit(1, `[2] ${status} ${JSON.stringify(plan)}`);
  print(`[2] plan ${plan.plan}, ${plan.left_days} days and ${plan.credits_left} credits left`);
  const isActive = plan.plan_active === true || (typeof plan.left_days === 'number' && plan.left_days > 0);
  if (!isActive) return exit(1, '[3] no active plan: renew first');
  print('[3] the plan is active');

  const query = new URLSearchParams({ agent_id: agentId, amount_usd: amountUsd });
  const topUpOrder = { url: `${apiUrl}/agent/x402/top-up?${query}` };
  const offer = await ask(client, topUpOrder);
  if (!offer.required) return exit(1, `[4] ${offer.status} ${JSON.stringify(offer.body)}`);
  print(`[4] the top-up costs ${priceOf(offer.required)}`);
  const paid = await pay(client, topUpOrder, offer.required);
  if (paid.status !== 200) return exit(1, `[5] ${paid.status} ${JSON.stringify(paid.body)}`);
  const { credits_added: added, new_credits_limit: limit } = paid.body;
  return exit(0, `[5] credits added: ${added}, new limit: ${limit}`);
}

async function obey(order) {
  const client = await createClient(order);
  if (order.topUp) {
    return topUp(client, order.topUp).catch(error => ({ exitCode: 1, lines: [error.message] }));
  }
  const results = [];
  for (const each of order.calls) {
    results.push(await call(client, each).catch(error => ({ error: error.message })));
  }
  return results;
}

for await (const line of createInterface({ input: process.stdin })) {
  process.stdout.write(`${JSON.stringify(await obey(JSON.parse(line)))}\n`);
}
