import type { TempoClient } from '../ports/tempo-client.ts';
import { createEvmClient, type EvmClientOptions } from './evm-client.ts';
import { createJsonRpc } from './json-rpc.ts';

/** Reads a Tempo node: an EVM node whose transactions may be sent by an account and paid for by another. */
export function createTempoClient(options: EvmClientOptions): TempoClient {
  const rpc = createJsonRpc(options);
  return {
    ...createEvmClient(options),
    async sender(hash) {
      const method = 'eth_getTransactionReceipt';
      const { result, error } = await rpc.call(method, [hash]);
      if (error) throw rpc.refuse(method, error);
      return (result as { from: string } | null)?.from.toLowerCase();
    },
  };
}
