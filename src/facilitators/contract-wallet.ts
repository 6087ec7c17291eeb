import { x402Facilitator } from '@x402/core/facilitator';
import type { PaymentPayload, PaymentRequirements } from '@x402/core/types';
import { toFacilitatorEvmSigner } from '@x402/evm';
import { ExactEvmScheme } from '@x402/evm/exact/facilitator';
import { type Abi, decodeFunctionResult, encodeFunctionData, type Hex } from 'viem';
import { assert } from '../lib/assert.ts';
import type { TokenDomain } from '../lib/eip3009.ts';
import { type EvmClient, EvmRevertError } from '../ports/evm-client.ts';
import type { VerifyResult } from '../ports/facilitator.ts';
import type { Eip3009Payment } from '../ports/payment.ts';

/** Decides whether a wallet that is a contract agrees to a payment (ERC-1271). */
export interface ContractWalletVerifier {
  /** @returns the refusal, or undefined when the signature is good. Throws `unavailable` when the node is down. */
  verify(payment: Eip3009Payment): Promise<VerifyResult | undefined>;
}

type Signer = Parameters<typeof toFacilitatorEvmSigner>[0];
type ReadContract = Signer['readContract'];

/** Far above what wallets need, also those that verify curves in the EVM itself; it bounds the node's work. */
const MAX_GAS = 3_000_000n;

/** Reasons that the scheme can only reach with a good signature, and that our own simulation names better. */
const JUDGED_BY_SIMULATION: ReadonlySet<string> = new Set([
  'invalid_exact_evm_payload_authorization_valid_before',
  'invalid_exact_evm_payload_authorization_valid_after',
  'invalid_exact_evm_nonce_already_used',
  'invalid_exact_evm_insufficient_balance',
  'invalid_exact_evm_transaction_simulation_failed',
]);

/**
 * Uses the official scheme, built by hand for one network so that it can not widen to others, with no
 * ERC-6492 factory allowed. It reads the chain through our client and can not send anything.
 */
export function createContractWalletVerifier(
  network: `${string}:${string}`,
  token: TokenDomain,
  client: EvmClient,
  gasPayer: `0x${string}`,
): ContractWalletVerifier {
  return {
    async verify(payment) {
      // The official scheme reports a dead node as the payer's bad signature, so we remember transport errors.
      let failure: unknown;
      const remember = async <T>(read: Promise<T>): Promise<T> => {
        try {
          return await read;
        } catch (error) {
          if (!(error instanceof EvmRevertError)) failure = error;
          throw error;
        }
      };
      const facilitator = new x402Facilitator().register(
        network,
        new ExactEvmScheme(readOnlySigner(remember)),
      );
      const requirements = toRequirements(payment, token);
      const result = await facilitator
        .verify(toPayload(payment, requirements), requirements)
        .catch((error: unknown) => {
          throw failure ?? error;
        });
      if (failure !== undefined) throw failure;
      const { isValid, invalidReason = 'invalid_exact_evm_signature' } = result;
      if (isValid || JUDGED_BY_SIMULATION.has(invalidReason)) return undefined;
      return {
        kind: 'invalid',
        reason: invalidReason,
        message: 'the contract wallet does not accept the signature',
      };
    },
  };

  function readOnlySigner(remember: <T>(read: Promise<T>) => Promise<T>) {
    const refuse = (): never => assert(false, 'verification never sends') as never;
    const readContract: ReadContract = async ({ address, abi, functionName, args }) => {
      const call = { abi: abi as Abi, functionName };
      const data = encodeFunctionData({ ...call, args });
      const result = await remember(client.call(address, data, { gas: MAX_GAS, foreignCode: true }));
      return decodeFunctionResult({ ...call, data: result as Hex });
    };
    return toFacilitatorEvmSigner({
      address: gasPayer,
      readContract,
      getCode: ({ address }) => remember(client.code(address)) as Promise<`0x${string}`>,
      verifyTypedData: refuse,
      writeContract: refuse,
      sendTransaction: refuse,
      waitForTransactionReceipt: refuse,
    });
  }
}

function toRequirements(payment: Eip3009Payment, token: TokenDomain): PaymentRequirements {
  return {
    scheme: 'exact',
    network: payment.network as `${string}:${string}`,
    amount: payment.amountBaseUnits.toString(),
    asset: payment.asset,
    payTo: payment.payTo,
    maxTimeoutSeconds: 300,
    extra: { name: token.name, version: token.version },
  };
}

function toPayload(payment: Eip3009Payment, accepted: PaymentRequirements): PaymentPayload {
  const { from, to, value, validAfter, validBefore, nonce, signature } = payment.authorization;
  return {
    x402Version: 2,
    accepted,
    payload: {
      signature,
      authorization: {
        from,
        to,
        value: value.toString(),
        validAfter: validAfter.toString(),
        validBefore: validBefore.toString(),
        nonce,
      },
    },
  };
}
