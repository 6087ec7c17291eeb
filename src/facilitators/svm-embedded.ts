import { GatewayError, unavailable } from '../lib/errors.ts';
import { associatedTokenAccount } from '../lib/svm-address.ts';
import type { Facilitator, SettleResult, VerifyResult } from '../ports/facilitator.ts';
import { type ExactPayment, requireKind, type SolanaPayment } from '../ports/payment.ts';
import type { SvmClient } from '../ports/svm-client.ts';
import { readSolanaPayment, svmChecks, wireOf } from './svm-checks.ts';
import {
  checkSvmTransaction,
  type ExpectedTransfer,
  isSignedByPayer,
  type SvmRuleLimits,
} from './svm-rules.ts';
import type { SvmSender } from './svm-sender.ts';
import { judgeSimulation } from './svm-simulation.ts';

/** What the embedded facilitator needs to serve one Solana network. */
export interface EmbeddedSvmNetwork {
  network: string;
  token: { mint: string; tokenProgram: string; decimals: number };
  limits: SvmRuleLimits;
  client: SvmClient;
  sender: SvmSender;
}

const LAMPORTS_PER_SIGNATURE = 5_000n;
const MICRO_LAMPORTS = 1_000_000n;

/** What an account without data must keep to exist at all. */
const RENT_EXEMPT_LAMPORTS = 890_880n;

/** Receivers whose token account is remembered; to find it again costs about a millisecond. */
const MAX_REMEMBERED = 1_000;

/**
 * The facilitator inside this process on Solana: it checks that a transaction is a payment to its receiver and nothing
 * else, that its payer has signed it and that it would succeed, then signs it as the fee payer and sends it.
 */
export function createEmbeddedSvmFacilitator(networks: readonly EmbeddedSvmNetwork[]): Facilitator {
  const byNetwork = new Map(networks.map(each => [each.network, each] as const));
  const tokenAccounts = new Map<string, string>();

  /** Where the receiver is paid: money goes nowhere else. */
  function tokenAccountOf(
    { payTo }: SolanaPayment,
    { mint, tokenProgram }: EmbeddedSvmNetwork['token'],
  ): string {
    const name = `${payTo} ${mint}`;
    const known = tokenAccounts.get(name) ?? associatedTokenAccount(payTo, mint, tokenProgram);
    tokenAccounts.set(name, known);
    const [oldest] = tokenAccounts.size > MAX_REMEMBERED ? tokenAccounts.keys() : [];
    if (oldest !== undefined) tokenAccounts.delete(oldest);
    return known;
  }

  function expectedTransfer(payment: SolanaPayment, { sender, token }: EmbeddedSvmNetwork): ExpectedTransfer {
    return {
      ...token,
      feePayer: sender.address,
      payer: payment.payer,
      source: payment.transaction.source,
      destination: tokenAccountOf(payment, token),
      amountBaseUnits: payment.amountBaseUnits,
      memo: payment.transaction.memo,
    };
  }

  function networkOf({ network }: { network: string }): EmbeddedSvmNetwork {
    const found = byNetwork.get(network);
    if (!found) throw new GatewayError('unsupported_network', `no facilitator for ${network}`);
    return found;
  }

  async function verify(given: ExactPayment): Promise<VerifyResult> {
    const payment = requireKind(given, 'solana');
    const network = networkOf(payment);
    const view = readSolanaPayment(payment);
    if (!view) {
      return invalid(
        'invalid_exact_svm_payload_transaction_could_not_be_decoded',
        'the transaction cannot be read',
      );
    }
    const refusal = checkSvmTransaction(view, expectedTransfer(payment, network), network.limits);
    if (refusal) return { kind: 'invalid', ...refusal };
    if (!(await isSignedByPayer(view))) {
      return invalid(
        'invalid_exact_svm_payload_signature_invalid',
        'the signature is missing or not the payer’s',
      );
    }
    return judgeSimulation(await network.client.simulate(wireOf(payment)));
  }

  /** Every waiting transaction is counted with the highest fee that is accepted. */
  async function checkCapacity(id: string): Promise<void> {
    const { sender, limits } = networkOf({ network: id });
    const part = `settlement on ${id}`;
    const { lamports, waiting } = await sender.capacity().catch((error: unknown) => {
      throw unavailable(part, error);
    });
    const needed = RENT_EXEMPT_LAMPORTS + highestFee(limits) * BigInt(waiting + 1);
    if (lamports < needed) throw unavailable(part);
  }

  async function settle(paymentId: string, given: ExactPayment): Promise<SettleResult> {
    try {
      const payment = requireKind(given, 'solana');
      const network = networkOf(payment);
      const view = readSolanaPayment(payment);
      // Checked again where the signature is given: nothing else is ever signed with this key.
      const refusal = view && checkSvmTransaction(view, expectedTransfer(payment, network), network.limits);
      if (!view || refusal) {
        // The fee payer's key may have been changed since: what the old one has signed is sent as it is.
        const sent = await network.sender.sendAgain(paymentId);
        if (sent) return sent;
        const { reason = 'invalid_exact_svm_transaction_signing_failed', message = 'nothing to sign' } =
          refusal ?? {};
        return { kind: 'not_submitted', reason, message };
      }
      return await network.sender.send(paymentId, { wire: wireOf(payment), message: view.message });
    } catch (error) {
      // Whether the bytes were stored is unknown when the database dies here, so this is no proof either way.
      return { kind: 'unknown', message: error instanceof Error ? error.message : 'settle failed' };
    }
  }

  return {
    name: 'embedded',
    supports(network, feePayer) {
      const found = byNetwork.get(network);
      return found !== undefined && (feePayer === undefined || feePayer === found.sender.address);
    },
    feePayer: network => byNetwork.get(network)?.sender.address,
    verifySignature: svmChecks.verifySignature,
    verify,
    checkCapacity,
    settle,
    transactionsOf: (paymentId, network) => networkOf({ network }).sender.transactionsOf(paymentId),
  };
}

function highestFee({ maxSignatures, maxComputeUnits, maxComputeUnitPrice }: SvmRuleLimits): bigint {
  const priority = BigInt(maxComputeUnits) * maxComputeUnitPrice;
  return BigInt(maxSignatures) * LAMPORTS_PER_SIGNATURE + (priority + MICRO_LAMPORTS - 1n) / MICRO_LAMPORTS;
}

function invalid(reason: string, message: string): VerifyResult {
  return { kind: 'invalid', reason, message };
}
