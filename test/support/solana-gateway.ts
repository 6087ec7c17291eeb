import type { Address, KeyPairSigner } from '@solana/kit';
import type { PaymentRequirements } from '@x402/core/types';
import { encodeBase64Json } from '../../src/lib/base64.ts';
import type { LocalSolana, LocalSolanaOptions } from '../../src/local/solana-chain.ts';
import { startGateway, type TestGateway, type TestGatewayOptions } from './gateway.ts';
import { connectSolana, SOLANA_MAINNET, signSolanaPayment, startTestSolana } from './solana.ts';
import { newSvmKey } from './svm-key.ts';
import { buildTransaction, paymentInstructions } from './svm-transaction.ts';

/** A gateway in front of a Solana of its own; it takes payments on Base, too. */
export interface SolanaGateway extends TestGateway {
  chain: LocalSolana;
  svmPayTo: string;
  feePayer: string;
  replica(options?: TestGatewayOptions): Promise<TestGateway>;
}

const FEE_PAYER_LAMPORTS = 10_000_000_000n;

/** Settings of a gateway that takes payments on the chain, whose receiver and fee payer are made ready. */
export async function solanaSettings(chain: LocalSolana) {
  const [receiver, feePayer] = [newSvmKey(), newSvmKey()];
  await Promise.all([chain.airdrop(feePayer.address, FEE_PAYER_LAMPORTS), chain.mint(receiver.address, 0n)]);
  const settings = {
    NETWORKS: `eip155:8453,${SOLANA_MAINNET}`,
    SVM_PAY_TO: receiver.address,
    SVM_PRIVATE_KEY: feePayer.secret,
    SOLANA_RPC_URL: chain.rpcUrl,
  };
  return { settings, svmPayTo: receiver.address, feePayer: feePayer.address };
}

export async function startSolanaGateway(
  options: TestGatewayOptions & { local?: Partial<LocalSolanaOptions> } = {},
): Promise<SolanaGateway> {
  const { local, ...rest } = options;
  const chain = await startTestSolana(local);
  const { settings, ...accounts } = await solanaSettings(chain);
  const gateway = await startGateway({ ...rest, settings: { ...settings, ...rest.settings } });
  return {
    ...gateway,
    ...accounts,
    chain,
    replica: more => startGateway({ ...more, replicaOf: gateway }),
    async stop() {
      await gateway.stop();
      await chain.stop();
    },
  };
}

/** The Solana entry of the top-up route's price list, at another amount. */
export async function solanaOffer(
  gateway: Pick<TestGateway, 'app'>,
  amountBaseUnits: bigint,
): Promise<PaymentRequirements> {
  const answer = await gateway.app.inject({ method: 'POST', url: '/api/v1/x402/top-up' });
  const { accepts } = answer.json<{ accepts: PaymentRequirements[] }>();
  const offer = accepts.find(({ network }) => network === SOLANA_MAINNET);
  if (!offer) throw new Error('nothing is offered on Solana');
  return { ...offer, amount: amountBaseUnits.toString() };
}

/** A payment header as the published client makes it of a fresh offer. */
export async function solanaPaymentHeader(
  gateway: SolanaGateway,
  wallet: KeyPairSigner,
  amountBaseUnits: bigint,
): Promise<string> {
  const offer = await solanaOffer(gateway, amountBaseUnits);
  return encodeBase64Json(await signSolanaPayment(gateway.chain, wallet, offer));
}

/**
 * A payment header over a transaction of the test's own making: with a blockhash that is seconds old, of the old
 * version, or out of a token account that is not the wallet's own.
 */
export async function ownPaymentHeader(
  gateway: Pick<SolanaGateway, 'app' | 'chain' | 'feePayer' | 'svmPayTo'>,
  wallet: KeyPairSigner,
  amountBaseUnits: bigint,
  options: { commitment?: 'processed' | 'confirmed'; version?: 'legacy' | 0; source?: Address } = {},
): Promise<string> {
  const { source, commitment = 'confirmed', version = 0 } = options;
  const offer = await solanaOffer(gateway, amountBaseUnits);
  const { value: latest } = await connectSolana(gateway.chain).getLatestBlockhash({ commitment }).send();
  const memo = String(offer.extra['memo']);
  const transaction = await buildTransaction({
    feePayer: gateway.feePayer,
    instructions: paymentInstructions({
      payer: wallet,
      payTo: gateway.svmPayTo,
      amount: amountBaseUnits,
      memo,
      ...(source === undefined ? {} : { source }),
    }),
    blockhash: latest.blockhash,
    version,
  });
  return encodeBase64Json({ x402Version: 2, accepted: offer, payload: { transaction } });
}

export function presentPayment(gateway: TestGateway, header: string) {
  return gateway.app.inject({
    method: 'POST',
    url: '/api/v1/x402/top-up',
    headers: { 'payment-signature': header },
  });
}

/** What a wallet on Solana was credited: nano-USD as text, and by how many transfers. */
export async function solanaCreditOf(gateway: TestGateway, wallet: string) {
  const { rows } = await gateway.sql.query<{ posted: string; transfers: number }>(
    `SELECT a.posted, (SELECT count(*)::int FROM cell_0.transfer t WHERE t.account_id = a.account_id) AS transfers
     FROM directory.customer_identity i JOIN directory.customer c USING (customer_id)
     JOIN cell_0.account a ON a.account_id = c.account_id WHERE i.value = $1`,
    [`${SOLANA_MAINNET}:${wallet}`],
  );
  return rows[0];
}
