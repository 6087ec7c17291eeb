import { randomBytes } from 'node:crypto';
import { createRequire } from 'node:module';
import { type Abi, type Hex, numberToHex, pad, parseEventLogs, parseSignature } from 'viem';
import { generatePrivateKey, type PrivateKeyAccount, privateKeyToAccount } from 'viem/accounts';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { compileContract } from '../../scripts/compile-contracts.ts';
import { findEvmNetwork } from '../../src/chains/evm-networks.ts';
import { domainSeparator } from '../../src/lib/eip3009.ts';
import { type AnvilNode, connectAnvil } from '../../src/local/anvil.ts';
import { type LocalEvmChain, startLocalEvmChain } from '../../src/local/evm-chain.ts';

const { abi } = createRequire(import.meta.url)('../../src/local/test-usdc.artifact.json') as { abi: Abi };
const base = findEvmNetwork('eip155:8453');
if (!base) throw new Error('Base is not in the table of networks');
const token = base.usdc.address as Hex;
const domain = {
  name: base.usdc.name,
  version: base.usdc.version,
  chainId: base.chainId,
  verifyingContract: token,
};

const authorizationFields = [
  { name: 'from', type: 'address' },
  { name: 'to', type: 'address' },
  { name: 'value', type: 'uint256' },
  { name: 'validAfter', type: 'uint256' },
  { name: 'validBefore', type: 'uint256' },
  { name: 'nonce', type: 'bytes32' },
] as const;
const types = {
  TransferWithAuthorization: authorizationFields,
  ReceiveWithAuthorization: authorizationFields,
  CancelAuthorization: [
    { name: 'authorizer', type: 'address' },
    { name: 'nonce', type: 'bytes32' },
  ],
  Permit: [
    { name: 'owner', type: 'address' },
    { name: 'spender', type: 'address' },
    { name: 'value', type: 'uint256' },
    { name: 'nonce', type: 'uint256' },
    { name: 'deadline', type: 'uint256' },
  ],
} as const;

const CURVE_ORDER = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141n;

let chain: LocalEvmChain;
let node: AnvilNode;
const relayer = newAccount().address;

beforeAll(async () => {
  chain = await startLocalEvmChain({ chainId: base.chainId, token: base.usdc, log: () => undefined });
  node = connectAnvil(chain.rpcUrl);
});

afterAll(() => chain.stop());

function newAccount(): PrivateKeyAccount {
  return privateKeyToAccount(generatePrivateKey());
}

async function newPayer(amount = 100n): Promise<PrivateKeyAccount> {
  const payer = newAccount();
  await chain.mint(payer.address, amount);
  return payer;
}

/** The call as it would be answered; rejects with the token's own words. */
async function simulate(functionName: string, args: readonly unknown[], from: Hex = relayer): Promise<void> {
  await node.simulateContract({ address: token, abi, functionName, args, account: from });
}

/** Sends the transaction. @returns the names and arguments of the token's events, in order. */
async function send(functionName: string, args: readonly unknown[], from: Hex = relayer) {
  await node.setBalance({ address: from, value: 10n ** 18n });
  await node.impersonateAccount({ address: from });
  const hash = await node.writeContract({
    address: token,
    abi,
    functionName,
    args,
    account: from,
    chain: null,
  });
  const receipt = await node.waitForTransactionReceipt({ hash });
  expect(receipt.status).toBe('success');
  return parseEventLogs({ abi, logs: receipt.logs }).map(({ eventName, args: values }) => ({
    eventName,
    ...(values as unknown as Record<string, unknown>),
  }));
}

function read<T>(functionName: string, args: readonly unknown[] = []): Promise<T> {
  return node.readContract({ address: token, abi, functionName, args }) as Promise<T>;
}

interface Authorization {
  from: Hex;
  to: Hex;
  value: bigint;
  validAfter: bigint;
  validBefore: bigint;
  nonce: Hex;
}

/** An authorization that is good now; time is the chain's. */
async function authorize(from: Hex, changes: Partial<Authorization> = {}): Promise<Authorization> {
  const { timestamp } = await node.getBlock();
  return {
    from,
    to: newAccount().address,
    value: 40n,
    validAfter: 0n,
    validBefore: timestamp + 600n,
    nonce: `0x${randomBytes(32).toString('hex')}`,
    ...changes,
  };
}

type AuthorizationType = 'TransferWithAuthorization' | 'ReceiveWithAuthorization';

function sign(
  signer: PrivateKeyAccount,
  message: Authorization,
  primaryType: AuthorizationType = 'TransferWithAuthorization',
): Promise<Hex> {
  return signer.signTypedData({ domain, types, primaryType, message });
}

function fieldsOf({ from, to, value, validAfter, validBefore, nonce }: Authorization) {
  return [from, to, value, validAfter, validBefore, nonce] as const;
}

/** Both forms that the token takes a signature in. */
function bothForms(signature: Hex): readonly (readonly unknown[])[] {
  const { r, s, v } = parseSignature(signature);
  return [[signature], [Number(v), r, s]];
}

describe('the test dollar', () => {
  it('describes itself as USDC on this network', async () => {
    expect(await read('name')).toBe('USD Coin');
    expect(await read('version')).toBe('2');
    expect(await read('decimals')).toBe(6);
    expect(await read('DOMAIN_SEPARATOR')).toBe(domainSeparator(domain));
    await expect(simulate('initialize', ['Other', 'OTH', '1'])).rejects.toThrow(
      'FiatToken: contract is already initialized',
    );
  });

  it.each([0, 1])('transfers by authorization once, form %i of the signature', async form => {
    const payer = await newPayer();
    const authorization = await authorize(payer.address);
    const signature = await sign(payer, authorization);
    const args = [...fieldsOf(authorization), ...(bothForms(signature)[form] ?? [])];
    expect(await read('authorizationState', [payer.address, authorization.nonce])).toBe(false);
    // The order of the events ties the transfer to its authorization.
    expect(await send('transferWithAuthorization', args)).toEqual([
      { eventName: 'AuthorizationUsed', authorizer: payer.address, nonce: authorization.nonce },
      { eventName: 'Transfer', from: payer.address, to: authorization.to, value: 40n },
    ]);
    expect(await read('balanceOf', [authorization.to])).toBe(40n);
    expect(await read('authorizationState', [payer.address, authorization.nonce])).toBe(true);
    await expect(simulate('transferWithAuthorization', args)).rejects.toThrow(
      'FiatTokenV2: authorization is used or canceled',
    );
  });

  it('refuses what was not signed exactly so', async () => {
    const payer = await newPayer();
    const authorization = await authorize(payer.address);
    const signature = await sign(payer, authorization);
    const changes: Partial<Authorization>[] = [
      { to: relayer },
      { value: 41n },
      { validAfter: 1n },
      { validBefore: authorization.validBefore + 1n },
      { nonce: `0x${'1'.repeat(64)}` },
      { from: (await newPayer()).address },
    ];
    for (const change of changes) {
      const args = [...fieldsOf({ ...authorization, ...change }), signature];
      await expect(simulate('transferWithAuthorization', args)).rejects.toThrow(
        'FiatTokenV2: invalid signature',
      );
    }
    const received = await sign(payer, authorization, 'ReceiveWithAuthorization');
    await expect(
      simulate('transferWithAuthorization', [...fieldsOf(authorization), received]),
    ).rejects.toThrow('FiatTokenV2: invalid signature');
  });

  it('refuses signatures in a second form', async () => {
    const payer = await newPayer();
    const authorization = await authorize(payer.address);
    const { r, s, yParity } = parseSignature(await sign(payer, authorization));
    const highS = numberToHex(CURVE_ORDER - BigInt(s), { size: 32 });
    const attempt = (...signature: readonly unknown[]) =>
      expect(simulate('transferWithAuthorization', [...fieldsOf(authorization), ...signature])).rejects;
    await attempt(yParity === 0 ? 28 : 27, r, highS).toThrow("ECRecover: invalid signature 's' value");
    await attempt(yParity, r, s).toThrow("ECRecover: invalid signature 'v' value");
    await attempt(`${r}${s.slice(2)}`).toThrow('ECRecover: invalid signature length');
    await attempt(27, pad('0x0'), s).toThrow(/ECRecover: invalid signature$/m);
  });

  it('takes an authorization strictly between its two times', async () => {
    const payer = await newPayer(1_000n);
    const { timestamp } = await node.getBlock();
    const start = timestamp + 1_000n;
    const at = async (blockTime: bigint, validAfter: bigint, validBefore: bigint) => {
      const authorization = await authorize(payer.address, { validAfter, validBefore });
      const args = [...fieldsOf(authorization), await sign(payer, authorization)];
      return node.simulateContract({
        address: token,
        abi,
        functionName: 'transferWithAuthorization',
        args,
        account: relayer,
        blockOverrides: { time: blockTime },
      });
    };
    await at(start + 1n, start, start + 2n);
    await expect(at(start, start, start + 2n)).rejects.toThrow('FiatTokenV2: authorization is not yet valid');
    await expect(at(start + 2n, start, start + 2n)).rejects.toThrow('FiatTokenV2: authorization is expired');
  });

  it('refuses more than the payer has', async () => {
    const payer = await newPayer(39n);
    const authorization = await authorize(payer.address);
    const args = [...fieldsOf(authorization), await sign(payer, authorization)];
    await expect(simulate('transferWithAuthorization', args)).rejects.toThrow(
      'ERC20: transfer amount exceeds balance',
    );
    expect(await read('authorizationState', [payer.address, authorization.nonce])).toBe(false);
  });

  it.each([0, 1])('lets only the receiver take a receive authorization, form %i', async form => {
    const payer = await newPayer();
    const authorization = await authorize(payer.address);
    const signature = await sign(payer, authorization, 'ReceiveWithAuthorization');
    const args = [...fieldsOf(authorization), ...(bothForms(signature)[form] ?? [])];
    await expect(simulate('receiveWithAuthorization', args)).rejects.toThrow(
      'FiatTokenV2: caller must be the payee',
    );
    const events = await send('receiveWithAuthorization', args, authorization.to);
    expect(events.map(event => event.eventName)).toEqual(['AuthorizationUsed', 'Transfer']);
    expect(await read('balanceOf', [authorization.to])).toBe(40n);
  });

  it.each([0, 1])('cancels an authorization for good, form %i', async form => {
    const payer = await newPayer();
    const authorization = await authorize(payer.address);
    const { nonce } = authorization;
    const message = { authorizer: payer.address, nonce };
    const signature = await payer.signTypedData({
      domain,
      types,
      primaryType: 'CancelAuthorization',
      message,
    });
    const args = [payer.address, nonce, ...(bothForms(signature)[form] ?? [])];
    expect(await send('cancelAuthorization', args)).toEqual([
      { eventName: 'AuthorizationCanceled', authorizer: payer.address, nonce },
    ]);
    const used = 'FiatTokenV2: authorization is used or canceled';
    await expect(simulate('cancelAuthorization', args)).rejects.toThrow(used);
    const transfer = [...fieldsOf(authorization), await sign(payer, authorization)];
    await expect(simulate('transferWithAuthorization', transfer)).rejects.toThrow(used);
    const stranger = [(await newPayer()).address, nonce, signature];
    await expect(simulate('cancelAuthorization', stranger)).rejects.toThrow('FiatTokenV2: invalid signature');
  });

  it.each([0, 1])('permits a spender by signature, form %i', async form => {
    const owner = await newPayer();
    const { timestamp } = await node.getBlock();
    const permit = async (nonce: bigint, deadline: bigint) => {
      const message = { owner: owner.address, spender: relayer, value: 30n, nonce, deadline };
      const signature = await owner.signTypedData({ domain, types, primaryType: 'Permit', message });
      return [owner.address, relayer, 30n, deadline, ...(bothForms(signature)[form] ?? [])];
    };
    await expect(simulate('permit', await permit(0n, timestamp - 1n))).rejects.toThrow(
      'FiatTokenV2: permit is expired',
    );
    await expect(simulate('permit', await permit(1n, timestamp + 600n))).rejects.toThrow(
      'EIP2612: invalid signature',
    );
    expect(await send('permit', await permit(0n, timestamp + 600n))).toEqual([
      { eventName: 'Approval', owner: owner.address, spender: relayer, value: 30n },
    ]);
    await expect(simulate('transferFrom', [owner.address, relayer, 31n])).rejects.toThrow(
      'ERC20: transfer amount exceeds allowance',
    );
    await send('transferFrom', [owner.address, relayer, 30n]);
    expect(await read('allowance', [owner.address, relayer])).toBe(0n);
    expect(await read('nonces', [owner.address])).toBe(1n);
  });

  it('asks a wallet with code, and only its code', async () => {
    const owner = newAccount();
    const wallet = await newPayer();
    const { runtimeBytecode } = JSON.parse(compileContract('TestWallet')) as { runtimeBytecode: Hex };
    await node.setCode({ address: wallet.address, bytecode: runtimeBytecode });
    await node.setStorageAt({ address: wallet.address, index: 0, value: pad(owner.address) });
    const authorization = await authorize(wallet.address);
    const fields = fieldsOf(authorization);
    const good = `0x01${(await sign(owner, authorization)).slice(2)}`;
    for (const wrong of [await sign(owner, authorization), await sign(wallet, authorization), '0x']) {
      await expect(simulate('transferWithAuthorization', [...fields, wrong])).rejects.toThrow(
        'FiatTokenV2: invalid signature',
      );
    }
    const events = await send('transferWithAuthorization', [...fields, good]);
    expect(events.map(event => event.eventName)).toEqual(['AuthorizationUsed', 'Transfer']);
  });

  it('stops while paused, and for listed accounts', async () => {
    const payer = await newPayer();
    const authorization = await authorize(payer.address);
    const args = [...fieldsOf(authorization), await sign(payer, authorization)];
    for (const listed of [payer.address, authorization.to]) {
      await send('setBlacklisted', [listed, true]);
      await expect(simulate('transferWithAuthorization', args)).rejects.toThrow(
        'Blacklistable: account is blacklisted',
      );
      await send('setBlacklisted', [listed, false]);
    }
    await send('setPaused', [true]);
    await expect(simulate('transferWithAuthorization', args)).rejects.toThrow('Pausable: paused');
    await expect(simulate('transfer', [relayer, 1n], payer.address)).rejects.toThrow('Pausable: paused');
    await send('setPaused', [false]);
    await simulate('transferWithAuthorization', args);
  });
});
