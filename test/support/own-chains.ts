import { erc20Abi, type Hex } from 'viem';
import { generatePrivateKey, privateKeyToAccount, privateKeyToAddress } from 'viem/accounts';
import { findEvmNetwork } from '../../src/chains/evm-networks.ts';
import { encodeBase64Json } from '../../src/lib/base64.ts';
import type { Clock } from '../../src/lib/clock.ts';
import { readSvmTransaction } from '../../src/lib/svm-transaction.ts';
import { connectAnvil } from '../../src/local/anvil.ts';
import { type LocalEvmChain, startLocalEvmChain } from '../../src/local/evm-chain.ts';
import type { LocalSolana } from '../../src/local/solana-chain.ts';
import { prepareGateway } from './gateway.ts';
import { BASE_USDC, paymentHeader, signPayment } from './payment.ts';
import {
  SOLANA_MAINNET,
  signSolanaPayment,
  solanaRequirements,
  solanaUsdcBalance,
  startTestSolana,
} from './solana.ts';
import { solanaSettings } from './solana-gateway.ts';
import { newSigner } from './svm-transaction.ts';

export type PaymentNetwork = 'evm' | 'svm';

/** A signed payment of a wallet of its own, which holds twice as much. */
export interface TestPayment {
  network: PaymentNetwork;
  /** The nonce of EIP-3009 or the SHA-256 of Solana's message: its identity ends with it. */
  key: string;
  /** The value of the header that presents it. */
  header: string;
  payer: string;
  amountBaseUnits: bigint;
}

export interface PaymentOrder {
  network: PaymentNetwork;
  payTo: string;
  /** Who pays the fee on Solana. */
  feePayer: string;
  amountBaseUnits: bigint;
}

type PreparedGateway = Awaited<ReturnType<typeof prepareGateway>>;

/** Base and Solana of a test's own, whose time it can move without disturbing anybody. */
export interface OwnChains {
  evmRpcUrl: string;
  solana: LocalSolana;
  /** The time of the chains, for gateways in this process. */
  clock: Clock;
  /** How far the chains are ahead of this machine, for gateways in other processes. */
  aheadMs(): number;
  /** Settings of a gateway on these chains: a database, receivers and keys of its own. */
  prepare(
    settings: Record<string, string>,
  ): Promise<PreparedGateway & { payTo: Record<PaymentNetwork, string>; feePayer: string }>;
  pay(order: PaymentOrder): Promise<TestPayment>;
  /** How many times a payment's money has left its wallet. */
  timesMoved(payment: TestPayment): Promise<number>;
  /** Makes what has happened so far final, and lets no payment end by it. */
  makeBlocks(): Promise<void>;
  /** Makes the blocks of Base from this one on anew, without what was in them; the account's next nonce stays what it was. */
  undoBlocks(from: bigint, account: string): Promise<void>;
  /** Ends every authorization and every blockhash that was signed until now. */
  endSignatures(): Promise<void>;
  stop(): Promise<void>;
}

/** Longer than any test of one payment takes, because the end comes when it is told to. */
const VALID_SECONDS = 600;
const PAST_END_SECONDS = VALID_SECONDS + 60;

/** More than the deepest confirmation that a test asks for, and than the way to a safe block. */
const FINAL_BLOCKS = 64;
/** On Solana a block with 32 on top is final, and a blockhash is forgotten after 150. */
const FINAL_SLOTS = 40;
const EXPIRY_SLOTS = 450;

const GAS_WEI = 10n ** 20n;

/** A blockhash lives for 150 slots, which is longer than any test of one payment takes. */
const SLOT_MS = 4_000;

export async function startOwnChains(): Promise<OwnChains> {
  const base = findEvmNetwork('eip155:8453');
  if (!base) throw new Error('Base is not in the table of networks');
  const [evm, solana] = await Promise.all([
    startLocalEvmChain({ chainId: base.chainId, token: base.usdc, log: () => undefined }),
    // What was executed is confirmed at once, so that nobody waits for a slot.
    startTestSolana({ slotMs: SLOT_MS, confirmedAfterSlots: 0 }),
  ]);
  const node = connectAnvil(evm.rpcUrl);
  let aheadMs = 0;
  const nowMs = () => Date.now() + aheadMs;

  return {
    evmRpcUrl: evm.rpcUrl,
    solana,
    clock: { nowMs },
    aheadMs: () => aheadMs,
    async prepare(settings) {
      const svm = await solanaSettings(solana);
      const prepared = await prepareGateway({ ...svm.settings, BASE_RPC_URL: evm.rpcUrl, ...settings });
      const { EVM_PRIVATE_KEY: key = '', EVM_PAY_TO: payTo = '' } = prepared.env;
      if (key) await evm.fundGas(privateKeyToAddress(key as Hex), GAS_WEI);
      return { ...prepared, payTo: { evm: payTo, svm: svm.svmPayTo }, feePayer: svm.feePayer };
    },
    pay: order => (order.network === 'evm' ? payOnEvm(evm, order, nowMs()) : payOnSolana(solana, order)),
    async timesMoved({ network, payer, amountBaseUnits }) {
      const left =
        network === 'svm'
          ? await solanaUsdcBalance(solana, payer)
          : await node.readContract({
              address: BASE_USDC,
              abi: erc20Abi,
              functionName: 'balanceOf',
              args: [payer as Hex],
            });
      return Number(2n * amountBaseUnits - left) / Number(amountBaseUnits);
    },
    async makeBlocks() {
      await Promise.all([node.mine({ blocks: FINAL_BLOCKS }), solana.advanceSlots(FINAL_SLOTS)]);
    },
    async undoBlocks(from, account) {
      const address = account as Hex;
      const [head, nonce] = await Promise.all([
        node.getBlockNumber({ cacheTime: 0 }),
        node.getTransactionCount({ address }),
      ]);
      await node.request({ method: 'anvil_reorg' as never, params: [Number(head - from + 1n), []] as never });
      await node.setNonce({ address, nonce });
    },
    async endSignatures() {
      await node.increaseTime({ seconds: PAST_END_SECONDS });
      await Promise.all([node.mine({ blocks: FINAL_BLOCKS }), solana.advanceSlots(EXPIRY_SLOTS)]);
      aheadMs += PAST_END_SECONDS * 1_000;
    },
    async stop() {
      await Promise.all([evm.stop(), solana.stop()]);
    },
  };
}

async function payOnEvm(
  chain: LocalEvmChain,
  { payTo, amountBaseUnits }: PaymentOrder,
  nowMs: number,
): Promise<TestPayment> {
  const payer = privateKeyToAccount(generatePrivateKey());
  await chain.mint(payer.address, 2n * amountBaseUnits);
  const validBefore = BigInt(Math.floor(nowMs / 1_000) + VALID_SECONDS);
  const payment = await signPayment(payer, payTo as Hex, amountBaseUnits, { validBefore });
  return {
    network: 'evm',
    key: payment.authorization.nonce.toLowerCase(),
    header: paymentHeader(payment),
    payer: payer.address,
    amountBaseUnits,
  };
}

async function payOnSolana(
  chain: LocalSolana,
  { payTo, feePayer, amountBaseUnits }: PaymentOrder,
): Promise<TestPayment> {
  const payer = await newSigner();
  await chain.mint(payer.address, 2n * amountBaseUnits);
  const memo = payer.address.slice(0, 32);
  const requirements = solanaRequirements({ payTo, feePayer, amountBaseUnits, memo });
  const payment = await signSolanaPayment(chain, payer, requirements);
  const { transaction } = payment.payload as { transaction: string };
  return {
    network: 'svm',
    key: readSvmTransaction(Buffer.from(transaction, 'base64'))?.messageHash ?? '',
    header: encodeBase64Json(payment),
    payer: payer.address,
    amountBaseUnits,
  };
}

/** The network's name as the gateway stores it. */
export const CAIP2 = { evm: 'eip155:8453', svm: SOLANA_MAINNET } satisfies Record<PaymentNetwork, string>;
