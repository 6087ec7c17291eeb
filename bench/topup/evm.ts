import { createPublicClient, erc20Abi, type Hex, http } from 'viem';
import { generatePrivateKey, type PrivateKeyAccount, privateKeyToAccount } from 'viem/accounts';
import { findEvmNetwork } from '../../src/chains/evm-networks.ts';
import { encodeBase64Json } from '../../src/lib/base64.ts';
import { startLocalEvmChain } from '../../src/local/evm-chain.ts';
import { paymentJson, signPayment } from '../../test/support/payment.ts';
import { progress } from '../report.ts';
import type { Offer, Rail } from './rail.ts';

const NETWORK = 'eip155:8453';
const WALLETS = 64;
const WALLET_BASE_UNITS = 1_000_000_000_000n;
const GAS_WEI = 10n ** 21n;

/** Base on this machine, mining each transaction as it comes. */
export async function startEvmRail(): Promise<Rail> {
  const base = findEvmNetwork(NETWORK);
  if (!base) throw new Error(`${NETWORK} is not in the table of networks`);
  const chain = await startLocalEvmChain({ chainId: base.chainId, token: base.usdc, log: progress });
  const client = createPublicClient({ transport: http(chain.rpcUrl) });
  const wallets: PrivateKeyAccount[] = Array.from({ length: WALLETS }, () =>
    privateKeyToAccount(generatePrivateKey()),
  );
  for (const { address } of wallets) await chain.mint(address, WALLET_BASE_UNITS);
  let next = 0;

  async function signOne(offer: Offer): Promise<string> {
    const wallet = wallets[next % WALLETS] as PrivateKeyAccount;
    next += 1;
    const payment = await signPayment(wallet, offer.payTo as Hex, BigInt(offer.amount));
    return encodeBase64Json({ x402Version: 2, accepted: offer, payload: paymentJson(payment) });
  }

  return {
    name: 'evm',
    async newServerEnv() {
      const key = generatePrivateKey();
      await chain.fundGas(privateKeyToAccount(key).address, GAS_WEI);
      return {
        NETWORKS: NETWORK,
        EVM_PAY_TO: privateKeyToAccount(generatePrivateKey()).address,
        EVM_PRIVATE_KEY: key,
        BASE_RPC_URL: chain.rpcUrl,
      };
    },
    sign: (offer, count) => Promise.all(Array.from({ length: count }, () => signOne(offer))),
    received: payTo =>
      client.readContract({
        address: base.usdc.address as Hex,
        abi: erc20Abi,
        functionName: 'balanceOf',
        args: [payTo as Hex],
      }),
    stop: () => chain.stop(),
  };
}
