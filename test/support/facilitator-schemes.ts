import { createKeyPairSignerFromBytes, createSolanaRpc, devnet, getBase58Encoder } from '@solana/kit';
import { x402Facilitator } from '@x402/core/facilitator';
import { toFacilitatorEvmSigner } from '@x402/evm';
import { ExactEvmScheme } from '@x402/evm/exact/facilitator';
import { ExactEvmSchemeV1 } from '@x402/evm/exact/v1/facilitator';
import { toFacilitatorSvmSigner } from '@x402/svm';
import { ExactSvmScheme } from '@x402/svm/exact/facilitator';
import { ExactSvmSchemeV1 } from '@x402/svm/exact/v1/facilitator';
import { createPublicClient, createWalletClient, type Hex, http, type PublicClient } from 'viem';
import { nonceManager, privateKeyToAccount } from 'viem/accounts';
import { base } from 'viem/chains';
import { findSvmNetwork } from '../../src/chains/svm-networks.ts';

const SOLANA = 'solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp';

/** A key on one chain and where the chain is. */
export interface StubAccount {
  rpcUrl: string;
  secret: string;
}

export interface StubSchemes {
  /** Which versions of x402 it speaks. */
  versions: readonly number[];
  evm: StubAccount | undefined;
  svm: StubAccount | undefined;
}

/** Hands a transaction to the node and then fails, as if the node's answer had been lost. */
type LoseReply = <T>(sent: Promise<T>) => Promise<T>;

const keepReply: LoseReply = sent => sent;
const loseReply: LoseReply = async sent => {
  await sent;
  throw new Error('socket hang up');
};

/** The official classes with the given keys, and once more with a node whose answer to a broadcast is lost. */
export async function createOfficialFacilitators(schemes: StubSchemes) {
  const evm = schemes.evm && evmSigners(schemes.evm);
  const svm = schemes.svm && (await svmSigner(schemes.svm));
  const create = (reply: LoseReply): x402Facilitator => {
    const facilitator = new x402Facilitator();
    const [v1, v2] = [schemes.versions.includes(1), schemes.versions.includes(2)];
    if (evm && v2) facilitator.register('eip155:8453', new ExactEvmScheme(evm(reply)));
    if (evm && v1) facilitator.registerV1('base' as never, new ExactEvmSchemeV1(evm(reply)));
    if (svm && v2) facilitator.register(SOLANA, new ExactSvmScheme(svm(reply)));
    const alias = findSvmNetwork(SOLANA)?.alias;
    if (svm && v1) facilitator.registerV1(alias as never, new ExactSvmSchemeV1(svm(reply)));
    return facilitator;
  };
  return { honest: create(keepReply), losing: create(loseReply) };
}

function evmSigners({ rpcUrl, secret }: StubAccount) {
  const account = privateKeyToAccount(secret as Hex, { nonceManager });
  const transport = http(rpcUrl);
  const wallet = createWalletClient({ account, chain: base, transport });
  const reader = createPublicClient({ chain: base, transport, pollingInterval: 20 }) as PublicClient;
  return (reply: LoseReply) =>
    toFacilitatorEvmSigner(
      {
        address: account.address,
        readContract: args => reader.readContract(args),
        verifyTypedData: args => reader.verifyTypedData(args as never),
        writeContract: ({ address, abi, functionName, args }) =>
          reply(wallet.writeContract({ address, abi, functionName, args, gas: 300_000n })),
        sendTransaction: () => Promise.reject(new Error('no smart wallet is deployed here')),
        waitForTransactionReceipt: ({ hash }) => reader.waitForTransactionReceipt({ hash }),
        getCode: ({ address }) => reader.getCode({ address }),
      },
      { confirmationTimeoutMs: 20_000 },
    );
}

async function svmSigner({ rpcUrl, secret }: StubAccount) {
  const key = await createKeyPairSignerFromBytes(Uint8Array.from(getBase58Encoder().encode(secret)));
  // One node for every name of the network.
  const signer = toFacilitatorSvmSigner(key, { '*': createSolanaRpc(devnet(rpcUrl)) });
  return (reply: LoseReply): typeof signer => ({
    ...signer,
    sendTransaction: (transaction, network) => reply(signer.sendTransaction(transaction, network)),
  });
}
