import { unavailable } from '../../src/lib/errors.ts';
import type { EvmClient } from '../../src/ports/evm-client.ts';
import type { SvmClient } from '../../src/ports/svm-client.ts';
import type { Seams } from '../../src/services/seams.ts';

/**
 * What happens to the gateway's own nodes. Receipts are the outcomes of transactions that are known, logs the
 * search for those that are not; memos are missing from Solana's lists only, because only there they are listed.
 */
export const NODE_FAULTS = [
  'none',
  'receipts-down',
  'logs-down',
  'memos-missing',
  'send-reply-lost',
  'send-dropped',
] as const;

export type NodeFault = (typeof NODE_FAULTS)[number];

/** Nodes that have whatever fault is wanted at the moment of a call. */
export function faultyNodes(fault: () => NodeFault): Pick<Seams, 'evmClient' | 'svmClient'> {
  const down = () => Promise.reject(unavailable('the node'));
  async function send(toNode: () => Promise<unknown>): Promise<void> {
    if (fault() === 'send-dropped') await down();
    await toNode();
    if (fault() === 'send-reply-lost') await down();
  }
  return {
    evmClient: (client: EvmClient): EvmClient => ({
      ...client,
      receipt: hash => (fault() === 'receipts-down' ? down() : client.receipt(hash)),
      logs: filter => (fault() === 'logs-down' ? down() : client.logs(filter)),
      sendRawTransaction: raw => send(() => client.sendRawTransaction(raw)),
    }),
    svmClient: (client: SvmClient): SvmClient => ({
      ...client,
      signatureStatuses: (...args) =>
        fault() === 'receipts-down' ? down() : client.signatureStatuses(...args),
      async history(...args) {
        if (fault() === 'logs-down') await down();
        const entries = await client.history(...args);
        if (fault() !== 'memos-missing') return entries;
        return entries.map(entry => ({ ...entry, memo: undefined }));
      },
      send: wire => send(() => client.send(wire)),
    }),
  };
}
