import {
  bytesToHex,
  encodeFunctionData,
  domainSeparator as genericDomainSeparator,
  type Hex,
  hashTypedData,
  keccak256,
  pad,
  parseAbi,
  toEventSelector,
} from 'viem';
import { describe, expect, it } from 'vitest';
import {
  addressTopic,
  authorizationDigest,
  authorizationStateCallData,
  balanceOfCallData,
  domainSeparator,
  EIP3009_TOPICS,
  topicAddress,
  transferCallData,
} from '../../src/lib/eip3009.ts';

const abi = parseAbi([
  'function transferWithAuthorization(address,address,uint256,uint256,uint256,bytes32,uint8,bytes32,bytes32)',
  'function transferWithAuthorization(address,address,uint256,uint256,uint256,bytes32,bytes)',
  'function authorizationState(address,bytes32) view returns (bool)',
  'function balanceOf(address) view returns (uint256)',
]);

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

const token = {
  name: 'USD Coin',
  version: '2',
  chainId: 8453,
  verifyingContract: '0x833589fcd6edb6e08f4c7c32d4f71b54bda02913',
} as const;

const authorizations = [
  {
    from: '0x19e7e376e7c213b7e7e7e46cc70a5dd086daff2a',
    to: '0x2670b922ef37c7df47158725c0cc407b5382293f',
    value: 10_000_000n,
    validAfter: 0n,
    validBefore: 1_795_197_973n,
    nonce: keccak256('0x01'),
  },
  {
    from: '0x0000000000000000000000000000000000000001',
    to: '0xffffffffffffffffffffffffffffffffffffffff',
    value: 2n ** 256n - 1n,
    validAfter: 2n ** 255n,
    validBefore: 1n,
    nonce: pad('0x00'),
  },
] as const;

describe('EIP-3009 bytes agree with the generic encoders', () => {
  it('hashes the domain', () => {
    expect(domainSeparator(token)).toBe(genericDomainSeparator({ domain: token }));
  });

  it.each(authorizations)('hashes what the payer signs (value $value)', authorization => {
    const expected = hashTypedData({
      domain: token,
      types,
      primaryType: 'TransferWithAuthorization',
      message: authorization,
    });
    expect(bytesToHex(authorizationDigest(domainSeparator(token), authorization))).toBe(expected);
  });

  it.each(authorizations)('encodes both transfer calls (value $value)', a => {
    const fixed = [a.from, a.to, a.value, a.validAfter, a.validBefore, a.nonce] as const;
    const r = keccak256('0x02');
    const s = keccak256('0x03');
    const vrs = encodeFunctionData({
      abi,
      functionName: 'transferWithAuthorization',
      args: [...fixed, 28, r, s],
    });
    expect(transferCallData(a, `${r}${s.slice(2)}1c`)).toBe(vrs);
    expect(transferCallData(a, `${r}${s.slice(2)}01`)).toBe(vrs);
    for (const size of [1, 32, 64, 66, 97]) {
      const signature: Hex = `0x${'ab'.repeat(size)}`;
      const bytes = encodeFunctionData({
        abi,
        functionName: 'transferWithAuthorization',
        args: [...fixed, signature],
      });
      expect(transferCallData(a, signature)).toBe(bytes);
    }
  });

  it('encodes the reads', () => {
    const [{ from, nonce }] = authorizations;
    expect(authorizationStateCallData(from, nonce)).toBe(
      encodeFunctionData({ abi, functionName: 'authorizationState', args: [from, nonce] }),
    );
    expect(balanceOfCallData(from)).toBe(
      encodeFunctionData({ abi, functionName: 'balanceOf', args: [from] }),
    );
  });

  it('knows the events', () => {
    expect(EIP3009_TOPICS).toEqual({
      transfer: toEventSelector('Transfer(address,address,uint256)'),
      authorizationUsed: toEventSelector('AuthorizationUsed(address,bytes32)'),
      authorizationCanceled: toEventSelector('AuthorizationCanceled(address,bytes32)'),
    });
    expect(topicAddress(addressTopic(token.verifyingContract))).toBe(token.verifyingContract);
  });
});
