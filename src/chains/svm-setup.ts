import { encodeBase58 } from '../lib/svm-address.ts';
import type { SvmAccount, SvmClient } from '../ports/svm-client.ts';
import type { SvmNetwork } from './svm-networks.ts';

/** Who is paid: a wallet, and its token account, which must exist before anybody can pay. */
export interface SvmReceiver {
  payTo: string;
  tokenAccount: string;
}

/** Layout of mints and token accounts, the same in both token programs. */
const MINT_DECIMALS_AT = 44;
const ACCOUNT_STATE_AT = 108;
const MIN_ACCOUNT_BYTES = 165;
const STATE_USABLE = 1;

/** Checks that the node serves the network, the mint is what we think and the receiver can receive. */
export async function checkSvmSetup(
  network: SvmNetwork,
  client: SvmClient,
  receiver: SvmReceiver,
): Promise<string[]> {
  const { usdc, rpcSetting, title } = network;
  try {
    const [genesis, mint, account] = await Promise.all([
      client.genesisHash(),
      client.account(usdc.address),
      client.account(receiver.tokenAccount),
    ]);
    if (!genesis.startsWith(referenceOf(network))) {
      return [`${rpcSetting} serves the chain with genesis ${genesis}, which is not ${title}`];
    }
    const problems: string[] = [];
    if (mint?.owner !== usdc.tokenProgram || mint.data[MINT_DECIMALS_AT] !== usdc.decimals) {
      problems.push(`${rpcSetting}: USDC on ${title} has another program or other decimals than ours`);
    }
    if (!account) {
      problems.push(
        `SVM_PAY_TO: ${receiver.payTo} has no USDC account on ${title}; create ${receiver.tokenAccount}, nobody can pay before`,
      );
    } else if (!isUsable(account, network, receiver)) {
      problems.push(`SVM_PAY_TO: the USDC account ${receiver.tokenAccount} on ${title} cannot receive`);
    }
    return problems;
  } catch {
    return [`${rpcSetting}: the ${title} node does not answer`];
  }
}

/** A wallet's token account can be given away or frozen by the mint. */
function isUsable({ owner, data }: SvmAccount, { usdc }: SvmNetwork, { payTo }: SvmReceiver): boolean {
  return (
    owner === usdc.tokenProgram &&
    data.length >= MIN_ACCOUNT_BYTES &&
    encodeBase58(data.subarray(0, 32)) === usdc.address &&
    encodeBase58(data.subarray(32, 64)) === payTo &&
    data[ACCOUNT_STATE_AT] === STATE_USABLE
  );
}

/** The reference of a CAIP-2 id on Solana: the first 32 characters of the genesis hash. */
export function referenceOf({ network }: { network: string }): string {
  return network.slice('solana:'.length);
}
