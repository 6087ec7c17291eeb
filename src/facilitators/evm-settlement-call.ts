import { transferCallData } from '../lib/eip3009.ts';
import { deployAndCallData, MULTICALL3_ADDRESS, unwrapSignature } from '../lib/eip6492.ts';
import { EXACT_PROXY_ADDRESS, settleCallData } from '../lib/permit2.ts';
import type { Eip3009Payment, Permit2Payment } from '../ports/payment.ts';
import type { OutgoingCall } from './evm-transaction.ts';

/** Wallets of known factories cost about 300,000 gas to deploy, those with a passkey more. */
const DEPLOY_GAS = 700_000n;

/** How the payments of one network are executed. */
export interface SettlementTerms {
  settleGas: bigint;
  /** Factories whose wallets we deploy (ERC-6492); lower-case addresses. */
  walletFactories: ReadonlySet<string>;
}

/**
 * The call that settles a payment, the same for the rehearsal and for the transaction, so that a wallet contract
 * cannot tell them apart. A pure function of the payment: what is signed again after a crash is the same call.
 */
export function settlementCall(
  payment: Eip3009Payment | Permit2Payment,
  { settleGas, walletFactories }: SettlementTerms,
): OutgoingCall {
  if (payment.kind === 'permit2') {
    const { permit } = payment;
    const data = settleCallData(permit, permit.signature, permit.allowance);
    return { to: EXACT_PROXY_ADDRESS, data, gas: settleGas };
  }
  const { authorization, asset } = payment;
  const wrapped = unwrapSignature(authorization.signature);
  const signature = wrapped?.signature ?? authorization.signature;
  const transfer = { to: asset, data: transferCallData(authorization, signature) };
  if (!wrapped || !walletFactories.has(wrapped.factory)) return { ...transfer, gas: settleGas };
  return {
    to: MULTICALL3_ADDRESS,
    data: deployAndCallData(wrapped, transfer),
    gas: settleGas + DEPLOY_GAS,
  };
}
