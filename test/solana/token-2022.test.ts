import {
  AccountRole,
  type Address,
  address,
  generateKeyPairSigner,
  type Instruction,
  type KeyPairSigner,
} from '@solana/kit';
import {
  findAssociatedTokenPda,
  getCreateAssociatedTokenIdempotentInstruction,
  getInitializeMint2Instruction,
  getMintToInstruction,
} from '@solana-program/token';
import { expect, it } from 'vitest';
import { encodeBase64Json } from '../../src/lib/base64.ts';
import { addressBytes } from '../../src/lib/svm-address.ts';
import { TOKEN_2022_PROGRAM } from '../../src/lib/svm-token.ts';
import { connectSolana, signSolanaPayment, signSolanaTransaction } from '../support/solana.ts';
import {
  presentPayment,
  type SolanaGateway,
  solanaCreditOf,
  solanaOffer,
  startSolanaGateway,
} from '../support/solana-gateway.ts';

const PROGRAM = address(TOKEN_2022_PROGRAM);
const MINT_BYTES = 82n;

/** Of the system program; its account pays nothing and the new one signs, too. */
function createAccount(payer: KeyPairSigner, created: KeyPairSigner, lamports: bigint): Instruction {
  const data = Buffer.alloc(52);
  data.writeBigUInt64LE(lamports, 4);
  data.writeBigUInt64LE(MINT_BYTES, 12);
  data.set(addressBytes(TOKEN_2022_PROGRAM), 20);
  const accounts = [payer, created].map(signer => ({
    address: signer.address,
    role: AccountRole.WRITABLE_SIGNER,
    signer,
  }));
  return { programAddress: address('11111111111111111111111111111111'), accounts, data };
}

async function accountOf(owner: string, mint: Address): Promise<Address> {
  const [account] = await findAssociatedTokenPda({ owner: address(owner), mint, tokenProgram: PROGRAM });
  return account;
}

/** Makes the mint, an account for everybody who is named, and tokens for the wallet. */
async function makeToken(
  { chain }: SolanaGateway,
  { wallet, mint, receiver }: { wallet: KeyPairSigner; mint: KeyPairSigner; receiver: string },
): Promise<void> {
  const rpc = connectSolana(chain);
  const rent = await rpc.getMinimumBalanceForRentExemption(MINT_BYTES).send();
  const at = { programAddress: PROGRAM };
  const mintAuthority = wallet.address;
  const accounts = await Promise.all(
    [receiver, wallet.address].map(async owner =>
      getCreateAssociatedTokenIdempotentInstruction({
        payer: wallet,
        ata: await accountOf(owner, mint.address),
        owner: address(owner),
        mint: mint.address,
        tokenProgram: PROGRAM,
      }),
    ),
  );
  const token = await accountOf(wallet.address, mint.address);
  const { wire, signature } = await signSolanaTransaction(chain, wallet, [
    createAccount(wallet, mint, rent),
    getInitializeMint2Instruction({ mint: mint.address, decimals: 6, mintAuthority }, at),
    ...accounts,
    getMintToInstruction({ mint: mint.address, token, mintAuthority: wallet, amount: 100_000_000n }, at),
  ]);
  await rpc.sendTransaction(wire, { encoding: 'base64', preflightCommitment: 'processed' }).send();
  await chain.waitUntilConfirmed(signature);
}

it('a dollar of the program Token-2022 is offered, paid by the published client, credited and compared', async () => {
  const mint = await generateKeyPairSigner();
  const gateway = await startSolanaGateway({
    seams: {
      svmNetwork: network => ({
        ...network,
        usdc: { ...network.usdc, address: mint.address, tokenProgram: TOKEN_2022_PROGRAM },
      }),
    },
  });
  try {
    const wallet = await generateKeyPairSigner();
    await gateway.chain.airdrop(wallet.address, 1_000_000_000n);
    await makeToken(gateway, { wallet, mint, receiver: gateway.svmPayTo });
    const offer = await solanaOffer(gateway, 10_000_000n);
    expect(offer.asset).toBe(mint.address);
    const header = encodeBase64Json(await signSolanaPayment(gateway.chain, wallet, offer));
    const answer = await presentPayment(gateway, header);
    expect(answer.statusCode, answer.body).toBe(200);
    const received = await accountOf(gateway.svmPayTo, mint.address);
    const { value } = await connectSolana(gateway.chain).getTokenAccountBalance(received).send();
    expect(value.amount).toBe('10000000');
    expect(await solanaCreditOf(gateway, wallet.address)).toEqual({ posted: '10000000000', transfers: 1 });
    expect((await presentPayment(gateway, header)).json()).toEqual(answer.json());
    expect((await gateway.app.inject('/readyz')).statusCode).toBe(200);
    const report = await gateway.services.reconcile();
    expect(report).toMatchObject({
      settledNotCredited: [],
      creditedNotOnChain: [],
      pending: [],
      suspense: [],
    });
  } finally {
    await gateway.stop();
  }
});
