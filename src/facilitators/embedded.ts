import type { Clock } from '../lib/clock.ts';
import {
  authorizationStateCallData,
  balanceOfCallData,
  type TokenDomain,
  transferCallData,
} from '../lib/eip3009.ts';
import { GatewayError } from '../lib/errors.ts';
import { type EvmClient, EvmRevertError } from '../ports/evm-client.ts';
import type { Facilitator, SettleResult, VerifyResult } from '../ports/facilitator.ts';
import { type Eip3009Payment, type ExactPayment, requireKind } from '../ports/payment.ts';
import type { ContractWalletVerifier } from './contract-wallet.ts';
import { createEip3009Checks } from './eip3009-checks.ts';
import type { EvmLanes } from './evm-lanes.ts';

/** What the embedded facilitator needs to serve one EVM network. */
export interface EmbeddedNetwork {
  network: string;
  token: TokenDomain;
  settleGas: bigint;
  client: EvmClient;
  lanes: EvmLanes;
  contractWallets: ContractWalletVerifier;
}

/**
 * The facilitator inside this process: it checks EIP-3009 payments against the token itself and sends them
 * with our own keys. The signature of an ordinary wallet is checked natively, a contract wallet's by the
 * official x402 scheme.
 */
export function createEmbeddedFacilitator(networks: readonly EmbeddedNetwork[], clock: Clock): Facilitator {
  const byNetwork = new Map(networks.map(n => [n.network, n] as const));
  const checks = createEip3009Checks(networks, clock);

  function networkOf(payment: { network: string }) {
    const network = byNetwork.get(payment.network);
    if (!network) throw new GatewayError('unsupported_network', `no facilitator for ${payment.network}`);
    return network;
  }

  async function verify(given: ExactPayment): Promise<VerifyResult> {
    const payment = requireKind(given, 'eip3009');
    const { client, contractWallets, lanes, settleGas } = networkOf(payment);
    const { authorization } = payment;
    if (!(await checks.verifySignature(payment))) {
      const code = await client.code(authorization.from);
      if (code === '0x') return invalid('invalid_exact_evm_signature', 'the signature is not the payer’s');
      const refusal = await contractWallets.verify(payment);
      if (refusal) return refusal;
    }
    const untimely = checks.checkTerms(payment);
    if (untimely) return untimely;
    try {
      // Exactly as it will be sent, so that a wallet contract cannot tell the rehearsal from the transaction.
      const data = transferCallData(authorization, authorization.signature);
      await client.call(payment.asset, data, { from: lanes.addresses[0], gas: settleGas });
      return { kind: 'valid' };
    } catch (error) {
      if (error instanceof EvmRevertError) return diagnose(payment, client, error);
      throw error;
    }
  }

  async function settle(paymentId: string, given: ExactPayment): Promise<SettleResult> {
    try {
      const payment = requireKind(given, 'eip3009');
      const untimely = checks.checkTerms(payment);
      if (untimely) return { ...untimely, kind: 'not_submitted' };
      const { lanes, settleGas } = networkOf(payment);
      const { authorization } = payment;
      return await lanes.send(paymentId, {
        to: payment.asset,
        data: transferCallData(authorization, authorization.signature),
        gas: settleGas,
      });
    } catch (error) {
      return { kind: 'unknown', message: error instanceof Error ? error.message : 'settle failed' };
    }
  }

  return {
    name: 'embedded',
    supports: network => byNetwork.has(network),
    feePayer: () => undefined,
    verifySignature: checks.verifySignature,
    verify,
    async checkCapacity(network) {
      const { lanes, settleGas } = networkOf({ network });
      await lanes.checkCapacity(settleGas);
    },
    settle,
    transactionsOf: (paymentId, network) => networkOf({ network }).lanes.transactionsOf(paymentId),
  };
}

type Refusal = Extract<VerifyResult, { kind: 'invalid' }>;

function invalid(reason: string, message: string): Refusal {
  return { kind: 'invalid', reason, message };
}

/** The token refused the transfer in simulation: tell the payer why, as precisely as two reads allow. */
async function diagnose(
  payment: Eip3009Payment,
  client: EvmClient,
  error: EvmRevertError,
): Promise<VerifyResult> {
  const { from, nonce } = payment.authorization;
  const [state, balance] = await Promise.all([
    client.call(payment.asset, authorizationStateCallData(from, nonce)),
    client.call(payment.asset, balanceOfCallData(from)),
  ]);
  if (BigInt(state) !== 0n) return { kind: 'already_used', reason: 'invalid_exact_evm_nonce_already_used' };
  if (BigInt(balance) < payment.amountBaseUnits) {
    return invalid('invalid_exact_evm_insufficient_balance', 'the wallet does not hold enough USDC');
  }
  return invalid(
    'invalid_exact_evm_transaction_simulation_failed',
    `the token refuses the transfer: ${error.reason}`,
  );
}
