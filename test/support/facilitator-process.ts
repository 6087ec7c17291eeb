/**
 * A facilitator in a process of its own: the official x402 classes over the local chain behind a plain HTTP
 * server, with faults that the test chooses per payment. Started by `startFacilitator`.
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { x402Facilitator } from '@x402/core/facilitator';
import type { PaymentPayload, PaymentRequirements } from '@x402/core/types';
import { toFacilitatorEvmSigner } from '@x402/evm';
import { ExactEvmScheme } from '@x402/evm/exact/facilitator';
import { ExactEvmSchemeV1 } from '@x402/evm/exact/v1/facilitator';
import { createPublicClient, createWalletClient, http, type PublicClient } from 'viem';
import { nonceManager, privateKeyToAccount } from 'viem/accounts';
import { base } from 'viem/chains';
import type { FacilitatorFault, StubCommand, StubCounts } from './facilitator-faults.ts';

const SLOW_MS = 3_000;

const env = (name: string): string => process.env[name] ?? '';
const account = privateKeyToAccount(env('STUB_KEY') as `0x${string}`, { nonceManager });
const transport = http(env('STUB_RPC_URL'));
const wallet = createWalletClient({ account, chain: base, transport });
const reader = createPublicClient({ chain: base, transport, pollingInterval: 20 }) as PublicClient;

const plans = new Map<string, FacilitatorFault>();
const counts: StubCounts = { verify: 0, settle: 0, supported: 0 };

function createFacilitator(loseBroadcastReply: boolean): x402Facilitator {
  const signer = toFacilitatorEvmSigner(
    {
      address: account.address,
      readContract: args => reader.readContract(args),
      verifyTypedData: args => reader.verifyTypedData(args as never),
      async writeContract({ address, abi, functionName, args }) {
        const hash = await wallet.writeContract({ address, abi, functionName, args, gas: 300_000n });
        if (loseBroadcastReply) throw new Error('socket hang up');
        return hash;
      },
      sendTransaction: () => Promise.reject(new Error('no smart wallet is deployed here')),
      waitForTransactionReceipt: ({ hash }) => reader.waitForTransactionReceipt({ hash }),
      getCode: ({ address }) => reader.getCode({ address }),
    },
    { confirmationTimeoutMs: 20_000 },
  );
  const facilitator = new x402Facilitator();
  const versions = env('STUB_VERSIONS').split(',');
  if (versions.includes('2')) facilitator.register('eip155:8453', new ExactEvmScheme(signer));
  if (versions.includes('1')) facilitator.registerV1('base' as never, new ExactEvmSchemeV1(signer));
  return facilitator;
}

const honest = createFacilitator(false);
const losing = createFacilitator(true);

interface Call {
  paymentPayload: PaymentPayload;
  paymentRequirements: PaymentRequirements;
}

function planOf(call: Call): { nonce: string; fault: FacilitatorFault } {
  const { authorization } = call.paymentPayload.payload as { authorization?: { nonce: string } };
  const nonce = authorization?.nonce ?? '';
  return { nonce, fault: plans.get(nonce) ?? 'honest' };
}

async function settle(call: Call, response: ServerResponse): Promise<void> {
  const { network } = call.paymentRequirements;
  const run = () => honest.settle(call.paymentPayload, call.paymentRequirements);
  const failure = (errorReason: string) => ({ success: false, errorReason, transaction: '', network });
  switch (planOf(call).fault) {
    case 'lost-reply':
      await run();
      response.destroy();
      return;
    case 'lost-broadcast-reply':
      send(response, 200, await losing.settle(call.paymentPayload, call.paymentRequirements));
      return;
    case 'error-after-settle':
      await run();
      response.writeHead(500, { 'content-type': 'text/html' }).end('<h1>Bad Gateway</h1>');
      return;
    case 'says-success-sent-nothing':
      send(response, 200, { success: true, transaction: madeUpHash(planOf(call).nonce), network });
      return;
    case 'says-failure-but-sent':
      await run();
      send(response, 200, failure('invalid_exact_evm_transaction_failed'));
      return;
    case 'says-refused-but-sent':
      await run();
      send(response, 200, failure('invalid_payment_requirements'));
      return;
    case 'names-another-transaction':
      await run();
      send(response, 200, { success: true, transaction: madeUpHash(planOf(call).nonce), network });
      return;
    case 'slow-answer': {
      const result = await run();
      await sleep(SLOW_MS);
      send(response, 200, result);
      return;
    }
    case 'slow-settle':
      await sleep(SLOW_MS);
      send(response, 200, await run());
      return;
    case 'unknown-code':
      send(response, 200, failure('the_moon_is_full'));
      return;
    case 'refuses':
      send(response, 200, failure('invalid_payment_requirements'));
      return;
    default:
      send(response, 200, await run());
  }
}

function madeUpHash(nonce: string): string {
  return `0x${nonce.slice(34)}${nonce.slice(2, 34)}`;
}

async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
  if (env('STUB_BEARER') && request.headers.authorization !== `Bearer ${env('STUB_BEARER')}`) {
    send(response, 401, { error: 'unauthorized' });
    return;
  }
  const path = request.url ?? '';
  if (path === '/supported') {
    counts.supported += 1;
    send(response, 200, honest.getSupported());
    return;
  }
  const call = JSON.parse(await readBody(request)) as Call;
  if (path === '/verify') {
    counts.verify += 1;
    send(response, 200, await honest.verify(call.paymentPayload, call.paymentRequirements));
    if (planOf(call).fault === 'down-after-verify') close();
  } else if (path === '/settle') {
    counts.settle += 1;
    await settle(call, response);
  } else send(response, 404, { error: 'not found' });
}

async function readBody(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString('utf8');
}

function send(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
}

const server = createServer((request, response) => {
  answer(request, response).catch(() => response.destroy());
});

function close(): void {
  server.close();
  server.closeIdleConnections();
}

let port = 0;

function listen(): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, '127.0.0.1', () => {
      server.off('error', reject);
      ({ port } = server.address() as AddressInfo);
      resolve();
    });
  });
}

async function obey(command: StubCommand): Promise<StubCounts> {
  if (command.kind === 'plan') plans.set(command.nonce, command.fault);
  if (command.kind === 'close') close();
  if (command.kind === 'open' && !server.listening) await listen();
  return counts;
}

process.on('message', (command: StubCommand) => {
  void obey(command).then(result => process.send?.({ counts: result }));
});
process.on('disconnect', () => process.exit());

await listen();
process.send?.({ port });
