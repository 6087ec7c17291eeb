/**
 * Reads one URL with the published @x402/fetch and the sign-in extension of @x402/extensions, unmodified; the latter
 * is in the gateway's own tree, with the official server middleware. Reads one line of JSON,
 * `{ url, privateKey }` (EVM) or `{ url, seed }` (Solana, 32 bytes as hex), and writes one:
 * `{ status, body, address, requests }` or `{ error, requests }`.
 */
import { createInterface } from 'node:readline';
import { createKeyPairSignerFromPrivateKeyBytes } from '@solana/kit';
import { createSIWxClientExtension } from '@x402/extensions/sign-in-with-x';
import { wrapFetchWithPayment, x402Client } from '@x402/fetch';
import { privateKeyToAccount } from 'viem/accounts';

const requests = [];

async function watchedFetch(input, init) {
  const request = new Request(input, init);
  const response = await fetch(request);
  requests.push({ status: response.status, sentHeaders: [...request.headers.keys()] });
  return response;
}

for await (const line of createInterface({ input: process.stdin })) {
  const { url, privateKey, seed } = JSON.parse(line);
  const signer = privateKey
    ? privateKeyToAccount(privateKey)
    : await createKeyPairSignerFromPrivateKeyBytes(Buffer.from(seed, 'hex'));
  let result;
  try {
    const client = new x402Client().registerExtension(createSIWxClientExtension({ signers: [signer] }));
    const target = url.replace('{wallet}', signer.address);
    const response = await wrapFetchWithPayment(watchedFetch, client)(target);
    result = { status: response.status, body: await response.json() };
  } catch (error) {
    result = { error: error.message };
  }
  process.stdout.write(`${JSON.stringify({ ...result, address: signer.address, requests })}\n`);
  break;
}
