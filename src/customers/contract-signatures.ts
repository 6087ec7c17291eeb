import { bytesToHex, encodeFunctionData, type Hex, isHex, parseAbi } from 'viem';
import { unavailable } from '../lib/errors.ts';
import { type EvmClient, EvmRevertError } from '../ports/evm-client.ts';
import type { SignedText } from './wallet-signatures.ts';

const ERC_1271 = parseAbi(['function isValidSignature(bytes32 hash, bytes signature) view returns (bytes4)']);

/** The word that ERC-1271 answers for a good signature. An account without code answers nothing at all. */
const ACCEPTED = `0x1626ba7e${'00'.repeat(28)}`;

/** Far above what wallets need, also those that verify curves in the EVM itself; it bounds the node's work. */
const MAX_GAS = 3_000_000n;

/** Anybody can make us ask, so what is asked at once is bounded; the rest may come again. */
const MAX_QUESTIONS = 32;

export interface ContractSignatures {
  /** @throws GatewayError `unavailable` when the node does not answer in time or too much is asked of it */
  accept(signed: SignedText, digest: Uint8Array): Promise<boolean>;
}

/** Asks accounts that are contracts whether they agree to a digest (ERC-1271), with one call of the node. */
export function createContractSignatures(clients: readonly EvmClient[]): ContractSignatures {
  const byNetwork = new Map(clients.map(client => [client.network, client]));
  let asked = 0;

  async function ask(client: EvmClient, wallet: string, data: Hex): Promise<boolean> {
    if (asked >= MAX_QUESTIONS) throw unavailable('the check of contract wallets');
    asked += 1;
    try {
      const answer = await client.call(wallet, data, { gas: MAX_GAS, foreignCode: true });
      return answer.slice(0, ACCEPTED.length) === ACCEPTED;
    } catch (error) {
      if (error instanceof EvmRevertError) return false;
      throw error;
    } finally {
      asked -= 1;
    }
  }

  return {
    async accept({ chain, wallet, signature }, digest) {
      const client = byNetwork.get(chain);
      if (!client || !isHex(signature) || signature.length % 2 !== 0) return false;
      const data = encodeFunctionData({
        abi: ERC_1271,
        functionName: 'isValidSignature',
        args: [bytesToHex(digest), signature],
      });
      return ask(client, wallet, data);
    },
  };
}
