import type { Clock } from '../lib/clock.ts';
import type { TokenDomain } from '../lib/eip3009.ts';
import { unwrapSignature } from '../lib/eip6492.ts';
import { GatewayError } from '../lib/errors.ts';
import { type EvmClient, EvmRevertError } from '../ports/evm-client.ts';
import type { Facilitator, SettleResult, VerifyResult } from '../ports/facilitator.ts';
import type { Eip3009Payment, ExactPayment, Permit2Payment } from '../ports/payment.ts';
import type { ContractWalletVerifier } from './contract-wallet.ts';
import { createEvmChecks, requireEvm } from './evm-checks.ts';
import { diagnoseRefusal } from './evm-diagnosis.ts';
import type { EvmLanes } from './evm-lanes.ts';
import { type SettlementTerms, settlementCall } from './evm-settlement-call.ts';

/** What the embedded facilitator needs to serve one EVM network. */
export interface EmbeddedNetwork extends SettlementTerms {
  network: string;
  token: TokenDomain;
  client: EvmClient;
  lanes: EvmLanes;
  contractWallets: ContractWalletVerifier;
}

/**
 * The facilitator inside this process: it checks EIP-3009 and Permit2 payments against the contracts themselves
 * and sends them with our own keys. The signature of an ordinary wallet is checked natively, a contract wallet's
 * by the official x402 scheme or by the rehearsal alone.
 */
export function createEmbeddedFacilitator(networks: readonly EmbeddedNetwork[], clock: Clock): Facilitator {
  const byNetwork = new Map(networks.map(n => [n.network, n] as const));
  const checks = createEvmChecks(networks, clock);

  function networkOf(payment: { network: string }) {
    const network = byNetwork.get(payment.network);
    if (!network) throw new GatewayError('unsupported_network', `no facilitator for ${payment.network}`);
    return network;
  }

  async function verify(given: ExactPayment): Promise<VerifyResult> {
    const payment = requireEvm(given);
    const network = networkOf(payment);
    const { client, lanes } = network;
    const isSignedByKey = await checks.verifySignature(payment);
    if (!isSignedByKey) {
      const refusal = await judgeContractSignature(payment, network);
      if (refusal) return refusal;
    }
    const untimely = checks.checkTerms(payment);
    if (untimely) return untimely;
    try {
      const { to, data, gas } = settlementCall(payment, network);
      await client.call(to, data, { from: lanes.addresses[0], gas, foreignCode: !isSignedByKey });
      return { kind: 'valid' };
    } catch (error) {
      if (error instanceof EvmRevertError) return diagnoseRefusal(payment, client, error);
      throw error;
    }
  }

  async function settle(paymentId: string, given: ExactPayment): Promise<SettleResult> {
    try {
      const payment = requireEvm(given);
      const untimely = checks.checkTerms(payment);
      if (untimely) return { ...untimely, kind: 'not_submitted' };
      const network = networkOf(payment);
      return await network.lanes.send(paymentId, settlementCall(payment, network));
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

/** What no key has signed: only a contract can agree to it, which may have to be deployed first. */
async function judgeContractSignature(
  payment: Eip3009Payment | Permit2Payment,
  { client, contractWallets, walletFactories }: EmbeddedNetwork,
): Promise<VerifyResult | undefined> {
  const isDeployed = (await client.code(payment.payer)) !== '0x';
  if (payment.kind === 'permit2') {
    // Permit2 asks the contract itself, in the rehearsal.
    return isDeployed ? undefined : invalid('invalid_permit2_signature', NOT_THE_PAYERS);
  }
  const wrapped = unwrapSignature(payment.authorization.signature);
  if (!wrapped) {
    return isDeployed
      ? contractWallets.verify(payment)
      : invalid('invalid_exact_evm_signature', NOT_THE_PAYERS);
  }
  // Of a wallet that is there nothing is deployed, so its factory does not matter.
  if (isDeployed || walletFactories.has(wrapped.factory)) return undefined;
  return invalid('eip6492_factory_not_allowed', 'wallets of this factory are taken once they are deployed');
}

const NOT_THE_PAYERS = 'the signature is not the payer’s';

function invalid(reason: string, message: string): VerifyResult {
  return { kind: 'invalid', reason, message };
}
