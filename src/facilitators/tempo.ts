import { Errors } from 'mppx';
import { Mppx, tempo } from 'mppx/server';
import { createClient, http } from 'viem';
import type { Clock } from '../lib/clock.ts';
import { GatewayError, unavailable } from '../lib/errors.ts';
import type { EvmClient } from '../ports/evm-client.ts';
import type { Facilitators, RoutedVerifyResult, SettleResult } from '../ports/facilitator.ts';
import { type ExactPayment, requireKind, type TempoTransfer } from '../ports/payment.ts';

export interface TempoFacilitatorOptions {
  chainId: number;
  title: string;
  rpcUrl: string;
  timeoutMs: number;
  secretKey: string;
  realm: string;
  currency: string;
  recipient: string;
  client: EvmClient;
  clock: Clock;
}

const NAME = 'tempo';

/** Below this the chain would stop taking the transaction before it is there. */
const MIN_VALIDITY_MS = 2_000;

/**
 * MPP's charge on Tempo: checked by mppx's own server part, and sent by us, so that it is stored before anything
 * leaves the process. The payer pays the gas; there is nothing to choose between, and no key of ours.
 */
export function createTempoFacilitators(options: TempoFacilitatorOptions): Facilitators {
  const { chainId, client, clock } = options;
  const validation = createValidation(options);

  async function verify(given: ExactPayment): Promise<RoutedVerifyResult> {
    const { transfer } = requireKind(given, 'tempo');
    // It was read from the chain, and is again before it is credited; an expired challenge undoes no transfer.
    if (transfer.raw === undefined) return { kind: 'valid', facilitator: NAME };
    const verdict = await judge(transfer);
    if (verdict.kind !== 'invalid') return verdict;
    // A transaction that was executed may not be valid once more, and its money has moved.
    const receipt = await client.receipt(transfer.hash);
    return receipt?.succeeded ? { kind: 'valid', facilitator: NAME } : verdict;
  }

  /** Whether the chain would execute what was signed. */
  async function judge({ validBefore, credential }: TempoTransfer): Promise<RoutedVerifyResult> {
    if (isOver(validBefore, MIN_VALIDITY_MS)) {
      return { kind: 'invalid', reason: 'payment-expired', message: 'the transaction expires too soon' };
    }
    try {
      await validation.validateCredential(credential);
      return { kind: 'valid', facilitator: NAME };
    } catch (error) {
      if (error instanceof Errors.PaymentError) return { kind: 'invalid', ...reasonOf(error) };
      if (isNodeTrouble(error)) throw unavailable(options.title, error);
      return {
        kind: 'invalid',
        reason: 'verification-failed',
        message: 'the transaction would not be executed: check balance and fee token',
      };
    }
  }

  function isOver(validBefore: bigint, marginMs: number): boolean {
    return BigInt(clock.nowMs() + marginMs) >= validBefore * 1000n;
  }

  async function settle(_name: string, _paymentId: string, payment: ExactPayment): Promise<SettleResult> {
    const { hash, raw, validBefore } = requireKind(payment, 'tempo').transfer;
    if (raw === undefined) return { kind: 'submitted', transaction: hash };
    if (isOver(validBefore, 0)) {
      return { kind: 'not_submitted', reason: 'expired', message: 'the transaction has expired' };
    }
    try {
      await client.sendRawTransaction(raw);
      return { kind: 'submitted', transaction: hash };
    } catch (error) {
      // The node may have taken it all the same: its name is known, so the chain will tell.
      const message = error instanceof GatewayError ? error.message : 'the node refused the transaction';
      return { kind: 'unknown', message };
    }
  }

  return {
    // Who pays was recovered from a secp256k1 signature over these very bytes, or read from the token's event; another
    // payer's would be another transaction with another name.
    verifySignature: payment =>
      Promise.resolve(requireKind(payment, 'tempo').network === `eip155:${chainId}`),
    verify,
    settle,
    nextAfter: () => undefined,
    feePayer: () => undefined,
    transactionsOf: () => Promise.resolve({ all: [], live: [] }),
    condition: () => Promise.resolve([{ name: NAME, trouble: undefined }]),
  };
}

function createValidation({
  chainId,
  rpcUrl,
  timeoutMs,
  secretKey,
  realm,
  currency,
  recipient,
}: TempoFacilitatorOptions) {
  return Mppx.create({
    secretKey,
    realm,
    methods: [
      tempo.charge({
        currency: currency as `0x${string}`,
        recipient: recipient as `0x${string}`,
        getClient: () =>
          createClient({
            chain: {
              id: chainId,
              name: 'Tempo',
              nativeCurrency: { name: 'USD', symbol: 'USD', decimals: 18 },
              rpcUrls: { default: { http: [rpcUrl] } },
            },
            transport: http(rpcUrl, { timeout: timeoutMs, retryCount: 0 }),
          }),
      }),
    ],
  });
}

const PROBLEMS = 'https://paymentauth.org/problems/';

function reasonOf(error: Errors.PaymentError): { reason: string; message: string } {
  return { reason: error.type.replace(PROBLEMS, ''), message: error.message };
}

/** A node that did not answer has said nothing about the payment. */
function isNodeTrouble(error: unknown): boolean {
  for (let cause = error; cause instanceof Error; cause = cause.cause) {
    if (['HttpRequestError', 'TimeoutError', 'SocketClosedError'].includes(cause.name)) return true;
  }
  return false;
}
