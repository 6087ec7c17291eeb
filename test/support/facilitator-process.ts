/**
 * A facilitator in a process of its own: the official x402 classes over local chains behind a plain HTTP
 * server, with faults that the test chooses per payment. Started by `startFacilitator`.
 */
import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { getBase58Decoder } from '@solana/kit';
import type { PaymentPayload, PaymentRequirements, SettleResponse } from '@x402/core/types';
import { readSvmTransaction } from '../../src/lib/svm-transaction.ts';
import type { FacilitatorFault, StubCommand, StubCounts } from './facilitator-faults.ts';
import { createOfficialFacilitators, type StubAccount } from './facilitator-schemes.ts';

const SLOW_MS = 4_000;

const env = (name: string): string => process.env[name] ?? '';
const accountOf = (chain: 'EVM' | 'SVM'): StubAccount | undefined =>
  env(`STUB_${chain}_KEY`)
    ? { secret: env(`STUB_${chain}_KEY`), rpcUrl: env(`STUB_${chain}_RPC_URL`) }
    : undefined;

// The official classes write every failure of a transaction there, and here most of them are wanted.
console.error = () => undefined;

const versions = env('STUB_VERSIONS').split(',').map(Number);
const svm = accountOf('SVM');
const { honest, losing } = await createOfficialFacilitators({ versions, evm: accountOf('EVM'), svm });

const plans = new Map<string, FacilitatorFault>();
/** Payments that are yet to be verified before this facilitator stops to listen, and the answers that wait for that. */
const lastVerified = new Set<string>();
const lastAnswers: (() => void)[] = [];
const counts: Omit<StubCounts, 'held'> = {
  verify: 0,
  settle: 0,
  supported: 0,
  settles: {},
  lastVerified: [],
};
const held = new Map<string, (() => void)[]>();
let holding = false;
/** The newest transaction on each kind of chain, and whose payment it carries. */
const settled = new Map<boolean, { payment: string; transaction: string }>();

interface Call {
  paymentPayload: PaymentPayload;
  paymentRequirements: PaymentRequirements;
}

interface Planned extends Call {
  /** Names the payment whatever its version. */
  payment: string;
  isSolana: boolean;
  fault: FacilitatorFault;
}

function toPlanned(call: Call): Planned {
  const { authorization, transaction } = call.paymentPayload.payload as {
    authorization?: { nonce: string };
    transaction?: string;
  };
  const view = transaction ? readSvmTransaction(Buffer.from(transaction, 'base64')) : undefined;
  const payment = authorization?.nonce.toLowerCase() ?? view?.messageHash ?? '';
  return { ...call, payment, isSolana: transaction !== undefined, fault: plans.get(payment) ?? 'honest' };
}

async function settle(call: Planned, response: ServerResponse): Promise<void> {
  const { network } = call.paymentRequirements;
  const run = () => runHonestly(call);
  const failure = (errorReason: string) => ({ success: false, errorReason, transaction: '', network });
  switch (call.fault) {
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
      send(response, 200, { success: true, transaction: madeUp(call), network });
      return;
    case 'says-failure-but-sent':
      await run();
      send(response, 200, failure(`invalid_exact_${call.isSolana ? 'svm' : 'evm'}_transaction_failed`));
      return;
    case 'says-refused-but-sent':
      await run();
      send(response, 200, failure('invalid_payment_requirements'));
      return;
    case 'names-another-transaction': {
      const other = settled.get(call.isSolana);
      await run();
      const transaction = other && other.payment !== call.payment ? other.transaction : madeUp(call);
      send(response, 200, { success: true, transaction, network });
      return;
    }
    case 'names-no-transaction':
      await run();
      send(response, 200, { success: true, transaction: malformed(call), network });
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
    case 'settle-401':
    case 'settle-403':
    case 'settle-429':
    case 'sent-401':
    case 'sent-403':
    case 'sent-429':
      await answerWithoutResult(call, response);
      return;
    default:
      send(response, 200, await run());
  }
}

/** As servers in front of a facilitator do, which know nothing of its results. */
async function answerWithoutResult(call: Planned, response: ServerResponse): Promise<void> {
  const status = Number(call.fault.slice(-3));
  if (call.fault.startsWith('sent-')) {
    const { transaction } = await runHonestly(call);
    send(response, status, { error: 'one call too many', transaction });
  } else if (status === 403) {
    response.writeHead(status, { 'content-type': 'text/html' }).end('<h1>Forbidden</h1>');
  } else {
    send(response, status, { error: 'not now', transaction: '' });
  }
}

async function runHonestly(call: Planned): Promise<SettleResponse> {
  const result = await honest.settle(call.paymentPayload, call.paymentRequirements);
  const { payment, isSolana } = call;
  if (result.success) settled.set(isSolana, { payment, transaction: result.transaction });
  return result;
}

/** A well-formed transaction id that the chain has never seen; the same each time. */
function madeUp({ payment, isSolana }: Planned): string {
  if (isSolana) return getBase58Decoder().decode(createHash('sha512').update(payment).digest());
  return `0x${payment.slice(34)}${payment.slice(2, 34)}`;
}

/** Of the right alphabet and about the right length: 50 bytes instead of 64 on Solana, 31 instead of 32 on EVM. */
function malformed({ isSolana }: Planned): string {
  return isSolana ? 'z'.repeat(68) : `0x${'ab'.repeat(31)}`;
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
  const call = toPlanned(JSON.parse(await readBody(request)) as Call);
  if (path === '/verify') {
    counts.verify += 1;
    await verify(call, response);
  } else if (path === '/settle') {
    counts.settle += 1;
    counts.settles[call.payment] = (counts.settles[call.payment] ?? 0) + 1;
    if (holding) await untilReleased(call.payment);
    await settle(call, response);
  } else send(response, 404, { error: 'not found' });
}

async function verify(call: Planned, response: ServerResponse): Promise<void> {
  if (call.fault === 'verify-error') return send(response, 500, { error: 'internal' });
  if (call.fault === 'verify-unknown-code')
    return send(response, 200, { isValid: false, invalidReason: 'the_moon_is_full' });
  if (call.fault === 'verify-slow') await sleep(SLOW_MS);
  const result = await honest.verify(call.paymentPayload, call.paymentRequirements);
  if (lastVerified.has(call.payment)) await untilClosed(call.payment, response);
  send(response, 200, result);
}

/** Nobody hears that its payment is good before there is nobody to settle it. */
async function untilClosed(payment: string, response: ServerResponse): Promise<void> {
  response.setHeader('connection', 'close');
  const closed = new Promise<void>(resolve => lastAnswers.push(resolve));
  lastVerified.delete(payment);
  counts.lastVerified.push(payment);
  if (lastVerified.size === 0) close();
  await closed;
}

function untilReleased(payment: string): Promise<void> {
  return new Promise(resolve => {
    held.set(payment, [...(held.get(payment) ?? []), resolve]);
  });
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
  for (const answerIt of lastAnswers.splice(0)) answerIt();
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

function plan(payment: string, fault: FacilitatorFault): void {
  plans.set(payment, fault);
  if (fault === 'down-after-verify') lastVerified.add(payment);
}

function release(): void {
  holding = false;
  for (const resume of [...held.values()].flat()) resume();
  held.clear();
}

async function obey(command: StubCommand): Promise<StubCounts> {
  if (command.kind === 'plan') plan(command.payment, command.fault);
  if (command.kind === 'close') close();
  if (command.kind === 'open') {
    // Those that were never verified stop nobody any more.
    lastVerified.clear();
    if (!server.listening) await listen();
  }
  if (command.kind === 'hold') holding = true;
  if (command.kind === 'release') release();
  return { ...counts, held: [...held.keys()] };
}

/** A second facilitator without faults, which serves Solana only and signs with the same key. */
async function startTwin(): Promise<number> {
  const twin = (await createOfficialFacilitators({ versions, evm: undefined, svm })).honest;
  const twinServer = createServer((request, response) => {
    void (async () => {
      const { url } = request;
      if (url === '/supported') return send(response, 200, twin.getSupported());
      const { paymentPayload, paymentRequirements } = JSON.parse(await readBody(request)) as Call;
      const call = [paymentPayload, paymentRequirements] as const;
      send(response, 200, url === '/verify' ? await twin.verify(...call) : await twin.settle(...call));
    })().catch(() => response.destroy());
  });
  await new Promise<void>(resolve => twinServer.listen(0, '127.0.0.1', resolve));
  return (twinServer.address() as AddressInfo).port;
}

process.on('message', (command: StubCommand) => {
  void obey(command).then(result => process.send?.({ counts: result }));
});
process.on('disconnect', () => process.exit());

const twinPort = svm ? await startTwin() : undefined;
await listen();
process.send?.({ port, twinPort });
