import { Credential } from 'mppx';
import { encodeFunctionData, fromRlp, type Hex, toRlp } from 'viem';
import { generatePrivateKey, type PrivateKeyAccount } from 'viem/accounts';
import { Abis, Account, P256, Transaction } from 'viem/tempo';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  challengeOf,
  createTempoPayer,
  fetchPaid,
  memoFor,
  PATH_USD,
  pathUsdBalance,
  sendCredential,
  startTempoGateway,
  TEMPO_TESTNET,
  type TempoGateway,
  type TempoPayer,
  tempoClient,
} from '../../support/tempo.ts';

let gateway: TempoGateway;
let victim: TempoPayer;
let apiKey: string;

beforeAll(async () => {
  gateway = await startTempoGateway();
  victim = await createTempoPayer(gateway.chain);
  const { body } = await fetchPaid(gateway, victim, '/subscribe?plan=startup&payment_frequency=monthly');
  apiKey = String(body['api_key']);
}, 60_000);
afterAll(async () => {
  await gateway?.stop();
});

type Challenge = Awaited<ReturnType<typeof challengeOf>>;

type Signer = Pick<PrivateKeyAccount, 'signTransaction'>;

interface Fields {
  validBefore?: number | undefined;
  nonceKey?: bigint;
  nonce?: number;
  chainId?: number;
}

/** Signs the transaction that pays a challenge. */
async function serialize(challenge: Challenge, signer: Signer, fields: Fields = {}): Promise<Hex> {
  const args = [gateway.tempoPayTo, 1_000n, memoFor(challenge)] as const;
  const data = encodeFunctionData({ abi: Abis.tip20, functionName: 'transferWithMemo', args });
  const transaction = {
    type: 'tempo',
    chainId: 42_431,
    calls: [{ to: PATH_USD, data }],
    nonceKey: 2n ** 256n - 1n,
    nonce: 0,
    validBefore: Math.floor(Date.now() / 1000) + 25,
    gas: 2_000_000n,
    maxFeePerGas: await tempoClient(gateway.chain).getGasPrice(),
    ...fields,
  };
  return signer.signTransaction(transaction as never, { serializer: Transaction.serialize as never });
}

async function present(challenge: Challenge, raw: Hex, source: Hex = victim.address) {
  const credential = Credential.serialize({
    challenge,
    payload: { type: 'transaction', signature: raw },
    source: `did:pkh:${TEMPO_TESTNET}:${source}`,
  });
  return sendCredential(gateway, '/subscription', credential);
}

async function storedPayments(): Promise<number> {
  const { rows } = await gateway.sql.query<{ n: number }>('SELECT count(*)::int AS n FROM cell_0.payment');
  return rows[0]?.n ?? -1;
}

/** Refused before anything is stored or sent, and nothing of the victim is told. */
async function expectRefusal(challenge: Challenge, raw: Hex, why: string): Promise<void> {
  const [before, balance] = [await storedPayments(), await pathUsdBalance(gateway.chain, victim.address)];
  const answer = await present(challenge, raw);
  expect(answer).toMatchObject({ status: 402, body: { detail: expect.stringContaining(why) } });
  expect(JSON.stringify(answer.body)).not.toContain(apiKey);
  expect(await storedPayments()).toBe(before);
  expect(await pathUsdBalance(gateway.chain, victim.address)).toBe(balance);
}

describe('a transaction in the victim’s name', () => {
  const WHO = 'must be signed by a secp256k1 key';

  it.each([
    [
      'an access key that nobody has authorised',
      () => Account.fromSecp256k1(generatePrivateKey(), { access: victim.address as never }),
    ],
    ['a passkey', () => Account.fromP256(P256.randomPrivateKey())],
  ])('is refused: signed by %s', async (_, forger) => {
    const challenge = await challengeOf(gateway, '/subscription');
    await expectRefusal(challenge, await serialize(challenge, forger()), WHO);
  });

  it('is refused: signed by another key, with the victim where a sponsor would sign', async () => {
    const thief = await createTempoPayer(gateway.chain);
    const challenge = await challengeOf(gateway, '/subscription');
    const honest = await serialize(challenge, thief);
    const fields = fromRlp(`0x${honest.slice(4)}`, 'hex') as Hex[];
    const sponsorAt = 11;
    fields[sponsorAt] = victim.address.toLowerCase() as Hex;
    await expectRefusal(challenge, `0x76${toRlp(fields).slice(2)}`, WHO);
    expect(await present(challenge, honest)).toMatchObject({ status: 404 });
  });
});

describe('a transaction that is good', () => {
  it.each([
    ['for ever', { validBefore: undefined, nonceKey: 7n }],
    ['for years', { validBefore: 4_000_000_000, nonceKey: 7n, nonce: 99 }],
    ['for longer than its challenge', { validBefore: Math.floor(Date.now() / 1000) + 3_600 }],
  ])('%s is refused, because it would be open for as long', async (_, fields) => {
    const challenge = await challengeOf(gateway, '/subscription');
    await expectRefusal(challenge, await serialize(challenge, victim, fields), 'must expire');
  });

  it('on another chain is refused', async () => {
    const challenge = await challengeOf(gateway, '/subscription');
    const raw = await serialize(challenge, victim, { chainId: 4_217 });
    await expectRefusal(challenge, raw, 'no transfer of this amount');
  });

  it('until its challenge ends is taken', async () => {
    const challenge = await challengeOf(gateway, '/subscription');
    const validBefore = Math.floor(Date.parse(challenge.expires ?? '') / 1000);
    const raw = await serialize(challenge, victim, { validBefore, nonceKey: 7n, nonce: 0 });
    expect(await present(challenge, raw)).toMatchObject({ status: 200, body: { api_keys: [apiKey] } });
  });
});
