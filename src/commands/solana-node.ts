import { createJsonRpc, type JsonRpc } from '../chains/json-rpc.ts';
import { referenceOf } from '../chains/svm-setup.ts';
import { ask } from '../client/http.ts';
import { type KnownSvmNetwork, type SolanaNode, SolanaNodeError } from '../client/svm-wallet.ts';
import { isSvmAddress } from '../lib/svm-address.ts';

const NODE_TIMEOUT_MS = 10_000;

/**
 * The node that a payer's transaction takes its block from.
 * @param findRpcUrl asked when something is about to be signed
 */
export function createSolanaNode(findRpcUrl: (network: KnownSvmNetwork) => Promise<string>): SolanaNode {
  return {
    async recentBlock(network) {
      const { title } = network;
      const rpcUrl = await findRpcUrl(network);
      const rpc = createJsonRpc({ title, rpcUrl, timeoutMs: NODE_TIMEOUT_MS });
      const [genesis, latest] = await Promise.all([
        request(rpc, title, 'getGenesisHash', []),
        request(rpc, title, 'getLatestBlockhash', [{ commitment: 'confirmed' }]),
      ]);
      if (typeof genesis !== 'string' || !genesis.startsWith(referenceOf(network))) {
        throw new SolanaNodeError(`the node does not serve ${title}: its chain has another beginning`);
      }
      const { blockhash, lastValidBlockHeight: height } =
        (latest as { value?: { blockhash?: unknown; lastValidBlockHeight?: unknown } } | null)?.value ?? {};
      if (typeof blockhash !== 'string' || !isSvmAddress(blockhash) || !Number.isSafeInteger(height)) {
        throw new SolanaNodeError(`the ${title} node names no recent block`);
      }
      return { blockhash, lastValidBlockHeight: BigInt(height as number) };
    },
  };
}

async function request(rpc: JsonRpc, title: string, method: string, params: unknown[]): Promise<unknown> {
  const answer = await rpc.call(method, params).catch((error: Error) => {
    throw new SolanaNodeError(`the ${title} node does not answer (${(error.cause as Error)?.message})`);
  });
  if (answer.error) throw new SolanaNodeError(`the ${title} node refuses ${method}`);
  return answer.result;
}

/** The local chain of the sandbox that sells. @throws NoAnswerError, SolanaNodeError */
export async function askSandboxRpcUrl(origin: URL, { network, title }: KnownSvmNetwork): Promise<string> {
  const answer = await ask(new URL('/sandbox/v1/info', origin), {
    method: 'GET',
    timeoutMs: NODE_TIMEOUT_MS,
  });
  const { networks } = (answer.json ?? {}) as { networks?: unknown };
  const chains = Array.isArray(networks) ? (networks as { network?: unknown; rpcUrl?: unknown }[]) : [];
  const rpcUrl = chains.find(each => each?.network === network)?.rpcUrl;
  if (typeof rpcUrl !== 'string' || !isRpcUrl(rpcUrl)) {
    throw new SolanaNodeError(`the server is no sandbox with a ${title} of its own`);
  }
  return rpcUrl;
}

export function isRpcUrl(text: string): boolean {
  return URL.canParse(text) && /^https?:$/.test(new URL(text).protocol);
}
