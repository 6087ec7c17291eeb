import { describe, expect, it } from 'vitest';
import { createEvmChain } from '../../../src/chains/evm-chain.ts';
import { findEvmNetwork } from '../../../src/chains/evm-networks.ts';
import { addressTopic, EIP3009_TOPICS } from '../../../src/lib/eip3009.ts';
import { PERMIT2_ADDRESS } from '../../../src/lib/permit2.ts';
import type { EvmClient, EvmFoundLog, EvmLogFilter } from '../../../src/ports/evm-client.ts';
import type { Eip3009Payment, Permit2Payment } from '../../../src/ports/payment.ts';

/** A node's whole answer, as one test wants it; what is not asked for here must not be asked. */
interface NodeState {
  head: bigint;
  safe: bigint;
  logs: EvmFoundLog[];
}

const network = findEvmNetwork('eip155:8453');
if (!network) throw new Error('Base is a known network');
const { usdc } = network;
const payTo = `0x${'b'.repeat(40)}`;
const from = `0x${'a'.repeat(40)}`;
const nonce = `0x${'1'.repeat(64)}`;
const hash = `0x${'c'.repeat(64)}`;
const blockHash = `0x${'d'.repeat(64)}`;
const terms = {
  scheme: 'exact' as const,
  network: network.network,
  asset: usdc.address,
  payTo,
  payer: from,
  amountBaseUnits: 5n,
};

const authorized: Eip3009Payment = {
  ...terms,
  kind: 'eip3009',
  identity: `eip3009:8453:${usdc.address}:${from}:${nonce}`,
  authorization: { from, to: payTo, value: 5n, validAfter: 0n, validBefore: 2_000n, nonce, signature: '0x' },
};

const permitted: Permit2Payment = {
  ...terms,
  kind: 'permit2',
  identity: `permit2:8453:${from}:7`,
  permit: {
    from,
    to: payTo,
    token: usdc.address,
    amount: 5n,
    nonce: 7n,
    deadline: 2_000n,
    validAfter: 0n,
    signature: '0x',
  },
};

const log = (blockNumber: bigint, fields: Partial<EvmFoundLog>): EvmFoundLog => ({
  address: usdc.address,
  topics: [],
  data: '0x',
  logIndex: 0,
  transactionHash: hash,
  blockNumber,
  blockHash,
  ...fields,
});

const used = (block: bigint) =>
  log(block, { topics: [EIP3009_TOPICS.authorizationUsed, addressTopic(from), nonce] });
const cancelled = (block: bigint) =>
  log(block, { topics: [EIP3009_TOPICS.authorizationCanceled, addressTopic(from), nonce] });
const transferred = (block: bigint, data = '0x05') =>
  log(block, {
    topics: [EIP3009_TOPICS.transfer, addressTopic(from), addressTopic(payTo)],
    data,
    logIndex: 1,
  });

function matches(event: EvmFoundLog, { address, topics, fromBlock, toBlock }: EvmLogFilter): boolean {
  return (
    event.address === address &&
    event.blockNumber >= fromBlock &&
    event.blockNumber <= toBlock &&
    topics.every((topic, i) => topic === null || [topic].flat().includes(event.topics[i] ?? ''))
  );
}

/** Every permission is consumed in this world. */
function chainOf(state: NodeState, data?: string) {
  const unasked = () => Promise.reject(new Error('not to be asked'));
  const client: EvmClient = {
    network: 'eip155:8453',
    chainId: unasked,
    blockHash: unasked,
    code: unasked,
    balance: unasked,
    transactionCount: unasked,
    gasPrice: unasked,
    sendRawTransaction: unasked,
    blockNumber: () => Promise.resolve(state.head),
    safeBlock: () => Promise.resolve({ number: state.safe, timestamp: 10_000n }),
    call: () => Promise.resolve(`0x${'f'.repeat(64)}`),
    logs: filter => Promise.resolve(state.logs.filter(event => matches(event, filter))),
    transactionData: () => Promise.resolve(data),
    receipt(transactionHash) {
      const logs = state.logs.filter(event => event.transactionHash === transactionHash);
      const [first] = logs;
      if (!first) return Promise.resolve(undefined);
      return Promise.resolve({
        transactionHash,
        blockNumber: first.blockNumber,
        blockHash,
        succeeded: true,
        logs,
      });
    },
  };
  const extras = { permit2: true, undeployedWallets: false };
  return createEvmChain(network as NonNullable<typeof network>, client, { nowMs: () => 3_000_000 }, extras);
}

const hint = { transactions: [], fromBlock: 1_000n };

describe('the search for a payment that somebody else sent', () => {
  it('finds it where it happened, however long the gateway was away', async () => {
    const chain = chainOf({ head: 900_000n, safe: 899_000n, logs: [used(2_500n), transferred(2_500n)] });
    expect(await chain.proveSettlement(authorized, hint)).toMatchObject({
      kind: 'transferred',
      transfer: { blockNumber: 2_500n, amountBaseUnits: 5n },
    });
  });

  it.each([
    ['cancelled', [cancelled(1_200n)], 'cancelled'],
    ['used for nothing', [used(1_200n), transferred(1_200n, '0x00')], 'used_elsewhere'],
  ])('calls one that was %s failed once no reorganisation can undo that', async (_, logs, reason) => {
    const young = chainOf({ head: 1_210n, safe: 1_199n, logs });
    expect(await young.proveSettlement(authorized, hint)).toEqual({ kind: 'unknown', used: true });
    const old = chainOf({ head: 1_210n, safe: 1_200n, logs });
    expect(await old.proveSettlement(authorized, hint)).toEqual({ kind: 'impossible', reason });
  });

  it('never calls one failed whose event the node does not show', async () => {
    const chain = chainOf({ head: 1_210n, safe: 1_205n, logs: [] });
    expect(await chain.proveSettlement(authorized, hint)).toEqual({ kind: 'unknown', used: true });
  });
});

describe('the search for a Permit2 payment', () => {
  it('calls one failed whose nonce is used while the receiver got nothing, up to the safe block', async () => {
    const done = chainOf({ head: 1_210n, safe: 1_205n, logs: [] });
    expect(await done.proveSettlement(permitted, hint)).toEqual({
      kind: 'impossible',
      reason: 'used_elsewhere',
    });
    // A search of twenty ranges that does not reach the safe block has not seen everything.
    const far = chainOf({ head: 900_000n, safe: 899_000n, logs: [] });
    expect(await far.proveSettlement(permitted, hint)).toEqual({ kind: 'unknown', used: true });
  });

  it('never calls one failed while an equal transfer cannot be explained', async () => {
    const logs = [transferred(1_100n)];
    const chain = chainOf({ head: 1_210n, safe: 1_205n, logs }, '0xdeadbeef');
    expect(await chain.proveSettlement(permitted, hint)).toEqual({ kind: 'unknown', used: true });
    const blind = chainOf({ head: 1_210n, safe: 1_205n, logs });
    expect(await blind.proveSettlement(permitted, hint)).toEqual({ kind: 'unknown', used: true });
  });

  it('knows a nonce that its owner has given up by the event, and by no event of another one', async () => {
    const word = (value: bigint) => value.toString(16).padStart(64, '0');
    const invalidation = (mask: bigint) =>
      log(1_100n, {
        address: PERMIT2_ADDRESS,
        topics: ['0x3704902f963766a4e561bbaab6e6cdc1b1dd12f6e9e99648da8843b3f46b918d', addressTopic(from)],
        data: `0x${word(0n)}${word(mask)}`,
      });
    const given = chainOf({ head: 1_210n, safe: 1_205n, logs: [invalidation(1n << 7n)] });
    expect(await given.proveSettlement(permitted, hint)).toEqual({ kind: 'impossible', reason: 'cancelled' });
    const other = chainOf({ head: 1_210n, safe: 1_205n, logs: [invalidation(1n << 8n)] });
    expect(await other.proveSettlement(permitted, hint)).toEqual({
      kind: 'impossible',
      reason: 'used_elsewhere',
    });
  });
});
