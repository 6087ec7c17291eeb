import { randomBytes } from 'node:crypto';
import { generatePrivateKey, type PrivateKeyAccount, privateKeyToAccount } from 'viem/accounts';
import { encodeBase64Json } from '../../src/lib/base64.ts';
import { mintUsdc } from './chain.ts';

export const BASE_USDC = '0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913';

/** A wallet that holds test dollars. */
export async function createPayer(usd = 1_000n): Promise<PrivateKeyAccount> {
  const account = privateKeyToAccount(generatePrivateKey());
  if (usd > 0n) await mintUsdc(account.address, usd * 1_000_000n);
  return account;
}

export interface AuthorizationFields {
  from: `0x${string}`;
  to: `0x${string}`;
  value: bigint;
  validAfter: bigint;
  validBefore: bigint;
  nonce: `0x${string}`;
}

export interface SignedPayment {
  authorization: AuthorizationFields;
  signature: `0x${string}`;
}

const types = {
  TransferWithAuthorization: [
    { name: 'from', type: 'address' },
    { name: 'to', type: 'address' },
    { name: 'value', type: 'uint256' },
    { name: 'validAfter', type: 'uint256' },
    { name: 'validBefore', type: 'uint256' },
    { name: 'nonce', type: 'bytes32' },
  ],
} as const;

export interface SignOptions extends Partial<AuthorizationFields> {
  domain?: Partial<{ name: string; version: string; chainId: number; verifyingContract: `0x${string}` }>;
}

/** Signs a payment as the published clients do: valid since ten minutes, for five more. */
export async function signPayment(
  payer: PrivateKeyAccount,
  to: `0x${string}`,
  value: bigint,
  options: SignOptions = {},
): Promise<SignedPayment> {
  const now = BigInt(Math.floor(Date.now() / 1000));
  const { domain, ...fields } = options;
  const authorization: AuthorizationFields = {
    from: payer.address,
    to,
    value,
    validAfter: now - 600n,
    validBefore: now + 300n,
    nonce: `0x${randomBytes(32).toString('hex')}`,
    ...fields,
  };
  const signature = await payer.signTypedData({
    domain: { name: 'USD Coin', version: '2', chainId: 8453, verifyingContract: BASE_USDC, ...domain },
    types,
    primaryType: 'TransferWithAuthorization',
    message: authorization,
  });
  return { authorization, signature };
}

/** The payment as JSON carries it: every integer a decimal string. */
export function paymentJson({ authorization, signature }: SignedPayment) {
  const { value, validAfter, validBefore } = authorization;
  return {
    signature,
    authorization: {
      ...authorization,
      value: value.toString(),
      validAfter: validAfter.toString(),
      validBefore: validBefore.toString(),
    },
  };
}

/** Header value in the shape of venice-x402-client: version 1's form under version 2's number. */
export function paymentHeader(payment: SignedPayment, root: Record<string, unknown> = {}): string {
  return encodeBase64Json({
    x402Version: 2,
    scheme: 'exact',
    network: 'base',
    payload: paymentJson(payment),
    ...root,
  });
}
