import { randomBytes } from 'node:crypto';
import { encodeFunctionData, erc20Abi, maxUint256 } from 'viem';
import type { PrivateKeyAccount } from 'viem/accounts';
import { encodeBase64Json } from '../../src/lib/base64.ts';
import { localChain, sendAsPayer } from './chain.ts';
import { BASE_USDC } from './payment.ts';

export const PERMIT2 = '0x000000000022D473030F116dDEE9F6B43aC78BA3';
export const EXACT_PROXY = '0x402085c248EeA27D92E8b30b2C58ed07f9E20001';

export interface PermitFields {
  from: `0x${string}`;
  permitted: { token: `0x${string}`; amount: bigint };
  spender: `0x${string}`;
  nonce: bigint;
  deadline: bigint;
  witness: { to: `0x${string}`; validAfter: bigint };
}

export interface SignedPermit {
  authorization: PermitFields;
  signature: `0x${string}`;
  /** The extension of the payload with the payer's EIP-2612 allowance. */
  extensions?: Record<string, unknown>;
}

const permitTypes = {
  PermitWitnessTransferFrom: [
    { name: 'permitted', type: 'TokenPermissions' },
    { name: 'spender', type: 'address' },
    { name: 'nonce', type: 'uint256' },
    { name: 'deadline', type: 'uint256' },
    { name: 'witness', type: 'Witness' },
  ],
  TokenPermissions: [
    { name: 'token', type: 'address' },
    { name: 'amount', type: 'uint256' },
  ],
  Witness: [
    { name: 'to', type: 'address' },
    { name: 'validAfter', type: 'uint256' },
  ],
} as const;

/** Signs a Permit2 payment as `@x402/evm` does: valid from always, for five minutes. */
export async function signPermit(
  signer: PrivateKeyAccount,
  to: `0x${string}`,
  amount: bigint,
  fields: Partial<PermitFields> = {},
): Promise<SignedPermit> {
  const authorization: PermitFields = {
    from: signer.address,
    permitted: { token: BASE_USDC, amount },
    spender: EXACT_PROXY,
    nonce: BigInt(`0x${randomBytes(32).toString('hex')}`),
    deadline: BigInt(Math.floor(Date.now() / 1000) + 300),
    witness: { to, validAfter: 0n },
    ...fields,
  };
  const { from: _, ...message } = authorization;
  const signature = await signer.signTypedData({
    domain: { name: 'Permit2', chainId: 8453, verifyingContract: PERMIT2 },
    types: permitTypes,
    primaryType: 'PermitWitnessTransferFrom',
    message,
  });
  return { authorization, signature };
}

/** Adds a signed allowance of the very amount, for a payer that has sent no approval. */
export async function withAllowance(
  payer: PrivateKeyAccount,
  permit: SignedPermit,
  fields: Partial<{ value: bigint; nonce: bigint; deadline: bigint }> = {},
): Promise<SignedPermit> {
  const { permitted, deadline } = permit.authorization;
  const message = {
    owner: payer.address,
    spender: PERMIT2,
    value: permitted.amount,
    nonce: 0n,
    deadline,
    ...fields,
  } as const;
  const signature = await payer.signTypedData({
    domain: { name: 'USD Coin', version: '2', chainId: 8453, verifyingContract: BASE_USDC },
    types: {
      Permit: [
        { name: 'owner', type: 'address' },
        { name: 'spender', type: 'address' },
        { name: 'value', type: 'uint256' },
        { name: 'nonce', type: 'uint256' },
        { name: 'deadline', type: 'uint256' },
      ],
    },
    primaryType: 'Permit',
    message,
  });
  const info = {
    from: payer.address,
    asset: BASE_USDC,
    spender: PERMIT2,
    amount: message.value.toString(),
    nonce: message.nonce.toString(),
    deadline: message.deadline.toString(),
    signature,
    version: '1',
  };
  return { ...permit, extensions: { eip2612GasSponsoring: { info } } };
}

/** Header value in the shape of version 2 clients. */
export function permitHeader({ authorization, signature, extensions }: SignedPermit): string {
  const { permitted, nonce, deadline, witness, ...addresses } = authorization;
  return encodeBase64Json({
    x402Version: 2,
    accepted: {
      scheme: 'exact',
      network: 'eip155:8453',
      amount: permitted.amount.toString(),
      asset: BASE_USDC,
      payTo: witness.to,
      maxTimeoutSeconds: 300,
      extra: { name: 'USD Coin', version: '2', assetTransferMethod: 'permit2' },
    },
    payload: {
      signature,
      permit2Authorization: {
        ...addresses,
        permitted: { token: permitted.token, amount: permitted.amount.toString() },
        nonce: nonce.toString(),
        deadline: deadline.toString(),
        witness: { to: witness.to, validAfter: witness.validAfter.toString() },
      },
    },
    ...(extensions && { extensions }),
  });
}

/** Lets Permit2 move the payer's dollars, by a transaction of the payer's own. */
export async function approvePermit2(payer: PrivateKeyAccount): Promise<void> {
  const data = encodeFunctionData({ abi: erc20Abi, functionName: 'approve', args: [PERMIT2, maxUint256] });
  await sendAsPayer(payer, BASE_USDC, data);
}

/** Gives up nonces by a transaction of their owner. */
export async function invalidateNonce(owner: PrivateKeyAccount, nonce: bigint): Promise<void> {
  const data = encodeFunctionData({
    abi: [
      {
        type: 'function',
        name: 'invalidateUnorderedNonces',
        stateMutability: 'nonpayable',
        inputs: [
          { name: 'wordPos', type: 'uint256' },
          { name: 'mask', type: 'uint256' },
        ],
        outputs: [],
      },
    ],
    args: [nonce >> 8n, 1n << (nonce & 0xffn)],
  });
  await sendAsPayer(owner, PERMIT2, data);
}

/** Makes `safe` pass what has just been mined. */
export async function passSafeBlock(): Promise<void> {
  await localChain().mine({ blocks: 4 });
}
