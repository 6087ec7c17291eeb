import { authorizationStateCallData, balanceOfCallData } from '../lib/eip3009.ts';
import { isNonceIn, nonceBitmapCallData, PERMIT2_ADDRESS, permit2AllowanceCallData } from '../lib/permit2.ts';
import type { EvmClient, EvmRevertError } from '../ports/evm-client.ts';
import type { VerifyResult } from '../ports/facilitator.ts';
import type { Eip3009Payment, Permit2Payment } from '../ports/payment.ts';

/** The chain refused the transfer in simulation: tell the payer why, as precisely as a few reads allow. */
export function diagnoseRefusal(
  payment: Eip3009Payment | Permit2Payment,
  client: EvmClient,
  error: EvmRevertError,
): Promise<VerifyResult> {
  return payment.kind === 'permit2'
    ? diagnosePermit2(payment, client, error)
    : diagnoseEip3009(payment, client, error);
}

async function diagnoseEip3009(
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

async function diagnosePermit2(
  { asset, permit }: Permit2Payment,
  client: EvmClient,
  error: EvmRevertError,
): Promise<VerifyResult> {
  const { from, nonce, amount, allowance } = permit;
  const [bitmap, balance, allowed] = await Promise.all([
    client.call(PERMIT2_ADDRESS, nonceBitmapCallData(from, nonce)),
    client.call(asset, balanceOfCallData(from)),
    client.call(asset, permit2AllowanceCallData(from)),
  ]);
  if (isNonceIn(bitmap, nonce)) return { kind: 'already_used', reason: 'permit2_invalid_nonce' };
  if (BigInt(balance) < amount) {
    return invalid('permit2_insufficient_balance', 'the wallet does not hold enough USDC');
  }
  if (BigInt(allowed) < amount) {
    const message = allowance
      ? 'the permission for Permit2 to move the amount is not good: its signature or its nonce is wrong'
      : 'the wallet has not allowed Permit2 to move this token';
    return invalid('permit2_allowance_required', message);
  }
  return invalid('permit2_simulation_failed', `Permit2 refuses the transfer: ${error.reason}`);
}

function invalid(reason: string, message: string): VerifyResult {
  return { kind: 'invalid', reason, message };
}
