import { generateKeyPairSync } from 'node:crypto';
import { createSolanaRpc, generateKeyPairSigner, getBase58Decoder, type KeyPairSigner } from '@solana/kit';
import { findSvmNetwork } from '../../src/chains/svm-networks.ts';
import { encodeBase64Json } from '../../src/lib/base64.ts';
import { associatedTokenAccount } from '../../src/lib/svm-address.ts';
import { signSolanaPayment } from '../../test/support/solana.ts';
import { progress } from '../report.ts';
import { startLocalSolana } from '../shipped.ts';
import type { Offer, Rail } from './rail.ts';

const NETWORK = 'solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp';
const WALLETS = 64;
const WALLET_BASE_UNITS = 1_000_000_000_000n;
const FEE_PAYER_LAMPORTS = 100_000_000_000n;

/** Slow, so that payments that were signed before a round are still good at its end. */
const SLOT_MS = 2_000;

/** Solana on this machine; a transaction is confirmed as soon as it ran, as on an EVM that mines each at once. */
export async function startSvmRail(): Promise<Rail> {
  const solana = findSvmNetwork(NETWORK);
  if (!solana) throw new Error(`${NETWORK} is not in the table of networks`);
  const { usdc } = solana;
  const times = { slotMs: SLOT_MS, confirmedAfterSlots: 0 };
  const chain = await startLocalSolana({ mint: usdc, ...times, log: progress });
  const wallets: KeyPairSigner[] = await Promise.all(
    Array.from({ length: WALLETS }, () => generateKeyPairSigner()),
  );
  for (const { address } of wallets) await chain.mint(address, WALLET_BASE_UNITS);
  let next = 0;

  /** A memo for each payment, as each would have had of an offer of its own: else two could be one transaction. */
  async function signOne(offer: Offer): Promise<string> {
    const wallet = wallets[next % WALLETS] as KeyPairSigner;
    next += 1;
    const { memo: _, ...extra } = offer.extra;
    const accepted = { ...offer, extra };
    const payment = await signSolanaPayment(chain, wallet, accepted as never);
    return encodeBase64Json({ x402Version: 2, accepted, payload: payment.payload });
  }

  return {
    name: 'svm',
    async newServerEnv() {
      const [receiver, feePayer] = [newKey(), newKey()];
      await chain.airdrop(feePayer.address, FEE_PAYER_LAMPORTS);
      await chain.mint(receiver.address, 0n);
      return {
        NETWORKS: NETWORK,
        SVM_PAY_TO: receiver.address,
        SVM_PRIVATE_KEY: feePayer.secret,
        SOLANA_RPC_URL: chain.rpcUrl,
      };
    },
    sign: (offer, count) => Promise.all(Array.from({ length: count }, () => signOne(offer))),
    async received(payTo) {
      const account = associatedTokenAccount(payTo, usdc.address, usdc.tokenProgram);
      const { value } = await createSolanaRpc(chain.rpcUrl)
        .getTokenAccountBalance(account as never)
        .send();
      return BigInt(value.amount);
    },
    stop: () => chain.stop(),
  };
}

/** Seed and public key in base58, as the settings take it. */
function newKey(): { address: string; secret: string } {
  const { publicKey, privateKey } = generateKeyPairSync('ed25519');
  const seed = privateKey.export({ format: 'der', type: 'pkcs8' }).subarray(-32);
  const bytes = publicKey.export({ format: 'der', type: 'spki' }).subarray(-32);
  const base58 = getBase58Decoder();
  return { address: base58.decode(bytes), secret: base58.decode(Buffer.concat([seed, bytes])) };
}
