/**
 * Pays one URL with the published @x402/fetch, unmodified, from this folder's packages. Reads one line of JSON,
 * `{ url, privateKey, maxAmountPerPayment?, permit2RpcUrl? }`, and writes one: `{ status, body, receipt }` or `{ error }`.
 * With `permit2RpcUrl` it prefers the entry of the offer that is paid by Permit2, and reads its allowance there.
 */
import { createInterface } from 'node:readline';
import { ExactEvmScheme } from '@x402/evm/exact/client';
import { decodePaymentResponseHeader, wrapFetchWithPayment, x402Client } from '@x402/fetch';
import { privateKeyToAccount } from 'viem/accounts';

for await (const line of createInterface({ input: process.stdin })) {
  const { url, privateKey, maxAmountPerPayment, permit2RpcUrl } = JSON.parse(line);
  const client = new x402Client().register(
    'eip155:8453',
    new ExactEvmScheme(privateKeyToAccount(privateKey), permit2RpcUrl && { rpcUrl: permit2RpcUrl }),
  );
  if (permit2RpcUrl) {
    client.registerPolicy((_version, requirements) =>
      requirements.filter(({ extra }) => extra.assetTransferMethod === 'permit2'),
    );
  }
  if (maxAmountPerPayment) client.setSpendControls({ maxAmountPerPayment });
  let result;
  try {
    const response = await wrapFetchWithPayment(fetch, client)(url, { method: 'POST' });
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
