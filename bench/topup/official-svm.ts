import { createKeyPairSignerFromBytes, createSolanaRpc, getBase58Encoder, mainnet } from '@solana/kit';
import { x402Facilitator } from '@x402/core/facilitator';
import { toFacilitatorSvmSigner } from '@x402/svm';
import { ExactSvmScheme as SvmFacilitator } from '@x402/svm/exact/facilitator';
import { ExactSvmScheme as SvmServer } from '@x402/svm/exact/server';
import { findSvmNetwork } from '../../src/chains/svm-networks.ts';
import { sleep } from '../../src/lib/deadline.ts';
import type { OfficialParts } from './official-express.ts';

/** As often as on the other chain; the package's own wait looks once a second. */
const POLL_MS = 20;

export async function officialSvm(network: `${string}:${string}`): Promise<OfficialParts> {
  const row = findSvmNetwork(network);
  if (!row) throw new Error(`${network} is not in the table of networks`);
  const rpc = createSolanaRpc(mainnet(process.env['SOLANA_RPC_URL'] ?? ''));
  const secret = getBase58Encoder().encode(process.env['SVM_PRIVATE_KEY'] ?? '');
  const key = await createKeyPairSignerFromBytes(Uint8Array.from(secret));
  const signer = toFacilitatorSvmSigner(key, { [network]: rpc });

  async function confirmTransaction(signature: string): Promise<void> {
    for (;;) {
      const { value } = await rpc.getSignatureStatuses([signature as never]).send();
      if (value[0]?.err) throw new Error('the transaction failed');
      if (value[0] && value[0].confirmationStatus !== 'processed') return;
      await sleep(POLL_MS);
    }
  }

  return {
    facilitator: new x402Facilitator().register(
      network,
      new SvmFacilitator({ ...signer, confirmTransaction }),
    ),
    server: new SvmServer(),
    asset: row.usdc.address,
    extra: {},
    payTo: process.env['SVM_PAY_TO'] ?? '',
    maxTimeoutSeconds: row.maxTimeoutSeconds,
  };
}
