import type { Clock } from '../lib/clock.ts';
import { GatewayError, unavailable } from '../lib/errors.ts';
import type { Facilitator, PaymentChecks, SettleResult, VerifyResult } from '../ports/facilitator.ts';
import type { ExactPayment } from '../ports/payment.ts';
import { createBreaker } from './breaker.ts';
import {
  hintsAtSettlement,
  readSettleAnswer,
  readSupported,
  readVerifyAnswer,
} from './facilitator-answers.ts';
import {
  callFacilitator,
  type FacilitatorAddress,
  FacilitatorCallError,
  type FacilitatorMethod,
} from './facilitator-http.ts';
import { classifyReason, judgeSettleAnswer, judgeVerifyRefusal } from './reason-codes.ts';
import type { FacilitatorRegistry } from './registry.ts';
import { facilitatorRequest, type X402Network, type X402Version } from './x402-objects.ts';

export interface RemoteFacilitatorOptions {
  address: FacilitatorAddress;
  networks: readonly X402Network[];
  checks: PaymentChecks;
  registry: FacilitatorRegistry;
  /** Named in version 1's requirements as what is paid for. */
  publicOrigin: string;
  clock: Clock;
  /** Longest time of a settle call, which usually waits for the transaction. */
  settleTimeoutMs: number;
  /** Longest time of a call to verify, or for what it supports. */
  askTimeoutMs: number;
}

/** A facilitator behind a URL. Its name is the URL. */
export interface RemoteFacilitator extends Facilitator {
  /** Asks what it supports and remembers the answer. @returns the problem when it could not be asked */
  learn(): Promise<string | undefined>;
}

const SIGNATURE_REFUSALS: ReadonlySet<string> = new Set([
  'invalid_exact_evm_signature',
  'invalid_permit2_signature',
]);

/** Statuses with which a server says that it did not act on the request, believed as `reason-codes.ts` says. */
const NOT_ACTED_ON: ReadonlySet<number> = new Set([401, 403, 429]);

/**
 * Speaks x402 (version 2, or 1 where it supports nothing newer) to a facilitator. Nothing it says is believed
 * beyond what the table of reason codes allows, and whether money moved is never its word.
 */
export function createRemoteFacilitator(options: RemoteFacilitatorOptions): RemoteFacilitator {
  const { address, checks, registry, clock } = options;
  const { url: name } = address;
  const networks = new Map(options.networks.map(network => [network.network, network]));
  const breakers = {
    verify: createBreaker(clock),
    settle: createBreaker(clock),
    supported: createBreaker(clock),
  } satisfies Record<FacilitatorMethod, unknown>;

  function networkOf({ network }: { network: string }): X402Network {
    const found = networks.get(network);
    if (!found) throw new GatewayError('unsupported_network', `no facilitator for ${network}`);
    return found;
  }

  /** The newest version in which it takes payments of the network; undefined when it takes none. */
  function versionFor(network: string, feePayer?: string): X402Version | undefined {
    const supported = registry.supportedBy(name);
    const known = networks.get(network);
    if (!known) return undefined;
    // Without an answer yet: on EVM nothing in an offer depends on it, on Solana the fee payer does.
    if (!supported) return network.startsWith('eip155:') ? 2 : undefined;
    const kinds = supported.kinds.filter(kind => kind.scheme === 'exact');
    const managed = feePayer === undefined || feePayers(network).includes(feePayer);
    if (!managed) return undefined;
    if (kinds.some(kind => kind.x402Version === 2 && kind.network === network)) return 2;
    return kinds.some(kind => kind.x402Version === 1 && kind.network === known.alias) ? 1 : undefined;
  }

  function feePayers(network: string): string[] {
    const supported = registry.supportedBy(name);
    const alias = networks.get(network)?.alias;
    const named = (supported?.kinds ?? [])
      .filter(kind => kind.network === network || kind.network === alias)
      .map(kind => kind.extra.feePayer);
    const family = `${network.split(':', 1)[0]}:*`;
    return [...named, ...(supported?.signers[family] ?? [])].filter(account => account !== undefined);
  }

  /** One call inside its breaker; a server error counts as a failure of the facilitator. */
  function call(method: FacilitatorMethod, timeoutMs: number, body?: unknown) {
    return breakers[method].run(async () => {
      const response = await callFacilitator(address, method, timeoutMs, body);
      if (response.status >= 500) {
        throw new FacilitatorCallError(`${method}: HTTP ${response.status}`, false);
      }
      return response;
    });
  }

  function requestFor(payment: ExactPayment) {
    const feePayer = payment.kind === 'solana' ? payment.transaction.feePayer : undefined;
    const version = versionFor(payment.network, feePayer) ?? 2;
    return facilitatorRequest(payment, networkOf(payment), version, options.publicOrigin);
  }

  async function verify(payment: ExactPayment): Promise<VerifyResult> {
    const refusal = checks.checkTerms(payment);
    if (refusal) return refusal;
    const response = await call('verify', options.askTimeoutMs, requestFor(payment)).catch(
      (error: unknown) => {
        throw unavailable('the facilitator', error);
      },
    );
    const answer = readVerifyAnswer(response.body);
    if (!answer) {
      throw unavailable('the facilitator', new Error(`verify: HTTP ${response.status} without a verdict`));
    }
    if (answer.isValid && response.status === 200) return { kind: 'valid' };
    const reason = answer.reason ?? 'unexpected_verify_error';
    const message = 'the facilitator refuses the payment';
    const verdict = judgeVerifyRefusal(answer.reason);
    // The official scheme gives this code when its node is down, too, and here we know better.
    if (SIGNATURE_REFUSALS.has(reason) && (await checks.verifySignature(payment))) {
      throw unavailable('the facilitator', new Error('it does not accept a signature that is good'));
    }
    if (verdict === 'already_used') return { kind: 'already_used', reason };
    return {
      kind: 'invalid',
      reason,
      message,
      ...(verdict === 'doubtful' && { doubtful: true }),
      // Any rehearsal fails of what was sent before, and the money that it moved is missing then.
      ...(classifyReason(answer.reason) !== 'before_broadcast' && { perhapsUsed: true }),
    };
  }

  async function settle(_paymentId: string, payment: ExactPayment): Promise<SettleResult> {
    const untimely = checks.checkTerms(payment);
    if (untimely) return { ...untimely, kind: 'not_submitted' };
    try {
      const response = await call('settle', options.settleTimeoutMs, requestFor(payment));
      return readSettlement(response, payment);
    } catch (error) {
      const message = error instanceof Error ? error.message : 'settle failed';
      if (error instanceof FacilitatorCallError && error.nothingSent) {
        return { kind: 'not_submitted', reason: 'facilitator_unreachable', message };
      }
      return { kind: 'unknown', message };
    }
  }

  function readSettlement(
    { status, body }: { status: number; body: unknown },
    payment: ExactPayment,
  ): SettleResult {
    const answer = readSettleAnswer(body, payment, networkOf(payment).alias);
    if (!answer) {
      const message = `settle: HTTP ${status} without a result`;
      return NOT_ACTED_ON.has(status) && !hintsAtSettlement(body)
        ? { kind: 'not_submitted', reason: 'facilitator_unreachable', message }
        : { kind: 'unknown', message };
    }
    const { reason, transaction } = answer;
    const verdict = judgeSettleAnswer(answer);
    const message = `settle: ${reason ?? verdict}`;
    if (verdict === 'refused') return { kind: 'not_submitted', reason: reason ?? '', message };
    const saidSettled = verdict === 'said_settled' && status === 200;
    if (transaction === undefined)
      return { kind: 'unknown', message, ...(saidSettled ? { saidSettled } : {}) };
    return { kind: 'submitted', transaction, reported: true, ...(saidSettled ? { saidSettled } : {}) };
  }

  return {
    name,
    supports: (network, feePayer) => versionFor(network, feePayer) !== undefined,
    feePayer: network => feePayers(network)[0],
    verifySignature: checks.verifySignature,
    verify,
    checkCapacity: network =>
      breakers.settle.isOpen() ? Promise.reject(unavailable(`settlement on ${network}`)) : Promise.resolve(),
    settle,
    transactionsOf: () => Promise.resolve({ all: [], live: [] }),
    async learn() {
      try {
        const response = await call('supported', options.askTimeoutMs);
        const supported = response.status === 200 ? readSupported(response.body) : undefined;
        if (!supported) return `HTTP ${response.status} without a list of payment kinds`;
        await registry.saveSupported(name, supported);
        return undefined;
      } catch (error) {
        return error instanceof Error ? error.message : 'supported failed';
      }
    },
  };
}
