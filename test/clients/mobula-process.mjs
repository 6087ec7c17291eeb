/**
 * Makes calls of the Mobula dialect with published clients, unmodified, from this folder's packages. Reads one line
 * of JSON, `{ client, privateKey, solanaRpcUrl?, calls: [{ url, method? }] }`, and writes one: an array with
 * `{ statuses, body, offered, schemaProblems }` or `{ error }` for each call. `client` is the version of the @x402
 * packages and the kind of wallet, e.g. `2.22.0 evm`. Answers are read by the schemas of @mobula_labs/types.
 */
import { createRequire } from 'node:module';
import { createInterface } from 'node:readline';

const { X402AgentCredentialsResponseSchema: Credentials, X402AgentTopUpResponseSchema: TopUp } =
  createRequire(import.meta.url)('@mobula_labs/types');

const PACKAGES = {
  '2.22.0': { core: 'x402-core-2-22', evm: 'x402-evm-2-22', svm: 'x402-svm-2-22' },
  '2.27.0': { core: '@x402/core', evm: '@x402/evm', svm: '@x402/svm' },
};

/** Which published schema reads the answer of which operation; the others have none. */
function schemaOf(url) {
  if (/\/(subscribe|api-keys\/create)(\?|$)/.test(url)) return Credentials;
  return url.includes('/top-up') ? TopUp : undefined;
}

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

/** What the published scripts do: ask, read the header, sign, ask again. */
async function call(client, { url, method = 'GET' }) {
  const first = await fetch(url, { method });
  if (first.status !== 402) return { statuses: [first.status], body: await first.json() };
  const required = client.getPaymentRequiredResponse(name => first.headers.get(name), await first.json());
  const offered = required.accepts.map(({ network }) => network);
  const payload = await client.createPaymentPayload(required);
  const headers = client.encodePaymentSignatureHeader(payload);
  const paid = await fetch(url, { method, headers });
  const body = await paid.json();
  const schema = paid.ok ? schemaOf(url) : undefined;
  const read = schema?.safeParse(body);
  return {
    statuses: [402, paid.status],
    body,
    offered,
    receipt: paid.ok ? client.getPaymentSettleResponse(name => paid.headers.get(name)) : undefined,
    schemaProblems: read && !read.success ? read.error.issues : [],
  };
}

for await (const line of createInterface({ input: process.stdin })) {
  const order = JSON.parse(line);
  const results = [];
  const client = await createClient(order);
  for (const each of order.calls) {
    try {
      results.push(await call(client, each));
    } catch (error) {
      results.push({ error: error.message });
    }
  }
  process.stdout.write(`${JSON.stringify(results)}\n`);
  break;
}
