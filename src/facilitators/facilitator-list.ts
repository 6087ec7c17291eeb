import { unavailable } from '../lib/errors.ts';
import type {
  Facilitator,
  Facilitators,
  PaymentChecks,
  RoutedVerifyResult,
  VerifyResult,
} from '../ports/facilitator.ts';
import type { Log } from '../ports/log.ts';
import type { ExactPayment } from '../ports/payment.ts';
import type { FacilitatorRegistry } from './registry.ts';

/**
 * The facilitators of one network in the operator's order, as one. A verification goes on to the next one when
 * one cannot tell; a settlement never does by itself: the caller asks for the next one, and only after a call
 * that provably sent nothing.
 * @param members in order of preference
 */
export function createFacilitatorList(deps: {
  members: readonly Facilitator[];
  checks: PaymentChecks;
  registry: Pick<FacilitatorRegistry, 'distrustOf' | 'doubtOf' | 'supportedBy' | 'silenceOf'>;
  log: Log;
}): Facilitators {
  const { members, checks, registry, log } = deps;

  function find(name: string): Facilitator | undefined {
    return members.find(member => member.name === name);
  }

  const isTrusted = ({ name }: Facilitator) => !registry.distrustOf(name) && !registry.doubtOf(name);

  /** Who may take a new payment. On Solana its fee payer decides, because only its owner can sign. */
  function candidates(payment: ExactPayment): Facilitator[] {
    const feePayer = payment.kind === 'solana' ? payment.transaction.feePayer : undefined;
    return members.filter(member => isTrusted(member) && member.supports(payment.network, feePayer));
  }

  function preferred(network: string): Facilitator | undefined {
    return members.find(member => isTrusted(member) && member.supports(network));
  }

  async function verify(payment: ExactPayment): Promise<RoutedVerifyResult> {
    let doubtful: Extract<VerifyResult, { kind: 'invalid' }> | undefined;
    let failure: unknown;
    for (const member of candidates(payment)) {
      try {
        const verdict = await member.verify(payment);
        if (verdict.kind === 'valid') {
          await member.checkCapacity(payment.network);
          return { ...verdict, facilitator: member.name };
        }
        if (verdict.kind === 'already_used' || !verdict.doubtful) return verdict;
        doubtful ??= verdict;
      } catch (error) {
        failure = error;
        if (members.length > 1) log.warn({ facilitator: member.name, err: error }, 'facilitator passed over');
      }
    }
    if (doubtful) return doubtful;
    if (failure === undefined && preferred(payment.network)) {
      // On Solana: it names an account to pay the fee that nobody here can sign for, but its owner may have.
      return {
        kind: 'invalid',
        reason: 'invalid_exact_svm_fee_payer_not_managed_by_facilitator',
        message: 'the fee payer of the transaction is not the one of a current offer',
        perhapsUsed: true,
      };
    }
    throw failure ?? unavailable(`a facilitator for ${payment.network}`);
  }

  return {
    verifySignature: checks.verifySignature,
    verify,
    async settle(name, paymentId, payment) {
      const member = find(name);
      if (!member) return { kind: 'unknown', message: `the facilitator ${name} is not configured any more` };
      return member.settle(paymentId, payment);
    },
    nextAfter(name, payment) {
      const position = members.findIndex(member => member.name === name);
      return candidates(payment).find(member => members.indexOf(member) > position)?.name;
    },
    async transactionsOf(name, paymentId, network) {
      return (await find(name)?.transactionsOf(paymentId, network)) ?? { all: [], live: [] };
    },
    condition: network =>
      Promise.all(
        members.map(async member => ({ name: member.name, trouble: await troubleOf(member, network) })),
      ),
    feePayer: network => preferred(network)?.feePayer(network),
  };

  async function troubleOf(member: Facilitator, network: string): Promise<string | undefined> {
    const mark = registry.distrustOf(member.name);
    if (mark) {
      return (
        `it said that it settled payment ${mark.paymentId}, and the chain proves the opposite (${mark.reason}); ` +
        `to use it again: topup-gateway facilitators trust ${member.name}`
      );
    }
    const doubt = registry.doubtOf(member.name);
    if (doubt) {
      return `it said that it settled payment ${doubt.paymentId}, of which the chain shows nothing yet; it gets no new ones meanwhile`;
    }
    if (!member.supports(network))
      return `it does not support ${network}, or has not said yet what it supports`;
    const silence = registry.silenceOf(member.name);
    // One that has answered before is down; one that never did may not be what the setting means.
    if (silence !== undefined && !registry.supportedBy(member.name))
      return `it has never said what it supports (${silence})`;
    return member.checkCapacity(network).then(
      () => undefined,
      () => 'it can not settle at present',
    );
  }
}
