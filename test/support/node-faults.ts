import { unavailable } from '../../src/lib/errors.ts';
import type { EvmClient } from '../../src/ports/evm-client.ts';
import type { SvmClient } from '../../src/ports/svm-client.ts';
import type { Seams } from '../../src/services/seams.ts';

/**
 * What happens to the gateway's own nodes. Receipts are the outcomes of transactions that are known, logs the
 * search for those that are not.
 */
export const NODE_FAULTS = ['none', 'receipts-down', 'logs-down', 'send-reply-lost'] as const;

export type NodeFault = (typeof NODE_FAULTS)[number];

/** Nodes that have whatever fault is wanted at the moment of a call. */
export function faultyNodes(fault: () => NodeFault): Pick<Seams, 'evmClient' | 'svmClient'> {
  const down = () => Promise.reject(unavailable('the node'));
  async function thenLose(sent: Promise<unknown>): Promise<void> {
    await sent;
    if (fault() === 'send-reply-lost') await down();
  }
  return {
    evmClient: (client: EvmClient): EvmClient => ({
      ...client,
      receipt: hash => (fault() === 'receipts-down' ? down() : client.receipt(hash)),
      logs: filter => (fault() === 'logs-down' ? down() : client.logs(filter)),
      sendRawTransaction: raw => thenLose(client.sendRawTransaction(raw)),
    }),
    svmClient: (client: SvmClient): SvmClient => ({
      ...client,
      signatureStatuses: (...args) =>
        fault() === 'receipts-down' ? down() : client.signatureStatuses(...args),
      history: (...args) => (fault() === 'logs-down' ? down() : client.history(...args)),
      send: wire => thenLose(client.send(wire)),
    }),
  };
}
