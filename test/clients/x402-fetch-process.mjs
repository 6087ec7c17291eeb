/**
 * Pays one URL with the published @x402/fetch, unmodified, from this folder's packages. Reads one line of JSON,
 * `{ url, privateKey?, permit2RpcUrl?, solana?: { key, rpcUrl }, headers?, body?, maxAmountPerPayment? }`, and writes
 * one: `{ status, body, receipt }` or `{ error }`. A Solana key is base64 of its 64 bytes. With `permit2RpcUrl` it prefers
 * the entry of the offer that is paid by Permit2, and reads its allowance there.
 */
import { createInterface } from 'node:readline';
import { createKeyPairSignerFromBytes } from '@solana/kit';
import { ExactEvmScheme } from '@x402/evm/exact/client';
import { decodePaymentResponseHeader, wrapFetchWithPayment, x402Client } from '@x402/fetch';
import { ExactSvmScheme } from '@x402/svm/exact/client';
import { privateKeyToAccount } from 'viem/accounts';

async function createClient({ privateKey, permit2RpcUrl, solana, maxAmountPerPayment }) {
  const client = new x402Client();
  if (privateKey) {
    const scheme = new ExactEvmScheme(
      privateKeyToAccount(privateKey),
      permit2RpcUrl && { rpcUrl: permit2RpcUrl },
    );
    client.register('eip155:8453', scheme);
  }
  if (permit2RpcUrl) {
    client.registerPolicy((_version, requirements) =>
      requirements.filter(({ extra }) => extra.assetTransferMethod === 'permit2'),
    );
  }
  if (solana) {
    const signer = await createKeyPairSignerFromBytes(Buffer.from(solana.key, 'base64'));
    const scheme = new ExactSvmScheme(signer, { rpcUrl: solana.rpcUrl });
    client.register('solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp', scheme);
  }
  if (maxAmountPerPayment) client.setSpendControls({ maxAmountPerPayment });
  return client;
}

for await (const line of createInterface({ input: process.stdin })) {
  const { url, headers, body, ...options } = JSON.parse(line);
  let result;
  try {
    const pay = wrapFetchWithPayment(fetch, await createClient(options));
    const response = await pay(url, { method: 'POST', headers, body });
    const receipt = response.headers.get('payment-response');
    result = {
      status: response.status,
      body: await response.json(),
      receipt: receipt ? decodePaymentResponseHeader(receipt) : undefined,
    };
  } catch (error) {
    result = { error: error.message };
  }
  process.stdout.write(`${JSON.stringify(result)}\n`);
  break;
}
