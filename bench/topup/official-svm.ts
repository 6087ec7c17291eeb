import { createKeyPairSignerFromBytes, createSolanaRpc, getBase58Encoder, mainnet } from '@solana/kit';
import { x402Facilitator } from '@x402/core/facilitator';
import { toFacilitatorSvmSigner } from '@x402/svm';
import { ExactSvmScheme as SvmFacilitator } from '@x402/svm/exact/facilitator';
import { ExactSvmScheme as SvmServer } from '@x402/svm/exact/server';
import { findSvmNetwork } from '../../src/chains/svm-networks.ts';
import type { OfficialParts } from './official-express.ts';

export async function officialSvm(network: `${string}:${string}`): Promise<OfficialParts> {
  const row = findSvmNetwork(network);
  if (!row) throw new Error(`${network} is not in the table of networks`);
  const rpc = createSolanaRpc(mainnet(process.env['SOLANA_RPC_URL'] ?? ''));
  const secret = getBase58Encoder().encode(process.env['SVM_PRIVATE_KEY'] ?? '');
  const key = await createKeyPairSignerFromBytes(Uint8Array.from(secret));
  const signer = toFacilitatorSvmSigner(key, { [network]: rpc });

  return {
    facilitator: new x402Facilitator().register(network, new SvmFacilitator(signer)),
    server: new SvmServer(),
    asset: row.usdc.address,
    extra: {},
    payTo: process.env['SVM_PAY_TO'] ?? '',
    maxTimeoutSeconds: row.maxTimeoutSeconds,
  };
}
