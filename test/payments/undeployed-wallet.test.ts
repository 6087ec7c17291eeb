import { encodeFunctionData, type Hex, pad, serializeErc6492Signature } from 'viem';
import { generatePrivateKey, type PrivateKeyAccount, privateKeyToAccount } from 'viem/accounts';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { compileContract } from '../../scripts/compile-contracts.ts';
import { localChain, mintUsdcTo, sendAsPayer, usdcBalance } from '../support/chain.ts';
import { startGateway, type TestGateway } from '../support/gateway.ts';
import { createPayer, paymentHeader, type SignedPayment, signPayment } from '../support/payment.ts';

const factoryAbi = [
  {
    type: 'function',
    name: 'createWallet',
    stateMutability: 'nonpayable',
    inputs: [
      { name: 'owner', type: 'address' },
      { name: 'salt', type: 'bytes32' },
    ],
    outputs: [{ type: 'address' }],
  },
  {
    type: 'function',
    name: 'addressOf',
    stateMutability: 'view',
    inputs: [
      { name: 'owner', type: 'address' },
      { name: 'salt', type: 'bytes32' },
    ],
    outputs: [{ type: 'address' }],
  },
] as const;

const SALT = pad('0x01');
const factory = privateKeyToAccount(generatePrivateKey()).address;
let allowing: TestGateway;
let plain: TestGateway;

beforeAll(async () => {
  const compiled = compileContract('TestWalletFactory', 'TestWallet.sol');
  const { runtimeBytecode } = JSON.parse(compiled) as { runtimeBytecode: Hex };
  await localChain().setCode({ address: factory, bytecode: runtimeBytecode });
  allowing = await startGateway({ settings: { ERC6492_FACTORIES: factory } });
  plain = await startGateway();
});

afterAll(async () => {
  await allowing.stop();
  await plain.stop();
});

interface CounterfactualWallet {
  owner: PrivateKeyAccount;
  address: Hex;
  factoryData: Hex;
}

/** A wallet that has dollars and is not deployed. */
async function createWallet(): Promise<CounterfactualWallet> {
  const owner = privateKeyToAccount(generatePrivateKey());
  const args = [owner.address, SALT] as const;
  const address = await localChain().readContract({
    address: factory,
    abi: factoryAbi,
    functionName: 'addressOf',
    args,
  });
  await mintUsdcTo(await createPayer(0n), address, 100_000_000n);
  return {
    owner,
    address,
    factoryData: encodeFunctionData({ abi: factoryAbi, functionName: 'createWallet', args }),
  };
}

/** The owner signs for the wallet, which wants a mark byte in front, and wraps it with the deployment. */
async function sign(
  { owner, address, factoryData }: CounterfactualWallet,
  to: Hex,
  signer = owner,
  deployer: Hex = factory,
): Promise<SignedPayment> {
  const { authorization, signature } = await signPayment(signer, to, 10_000_000n, { from: address });
  const inner: Hex = `0x01${signature.slice(2)}`;
  return {
    authorization,
    signature: serializeErc6492Signature({ address: deployer, data: factoryData, signature: inner }),
  };
}

function pay(gateway: TestGateway, payment: SignedPayment) {
  return gateway.app.inject({
    method: 'POST',
    url: '/api/v1/x402/top-up',
    headers: { 'payment-signature': paymentHeader(payment) },
  });
}

const isDeployed = async ({ address }: CounterfactualWallet) =>
  (await localChain().getCode({ address })) !== undefined;

const deploy = async ({ factoryData }: CounterfactualWallet) =>
  sendAsPayer(await createPayer(0n), factory, factoryData);

describe('a wallet that is not deployed yet', () => {
  it('is deployed and pays in one transaction, and gets the stored answer again', async () => {
    const wallet = await createWallet();
    const payment = await sign(wallet, allowing.payTo);
    const answer = await pay(allowing, payment);
    expect(answer.statusCode).toBe(200);
    expect(answer.json().data).toMatchObject({
      walletAddress: wallet.address.toLowerCase(),
      amountCredited: 10,
    });
    expect(await isDeployed(wallet)).toBe(true);
    expect(await usdcBalance(wallet.address)).toBe(90_000_000n);
    expect((await pay(allowing, payment)).json()).toEqual(answer.json());
  });

  it('is refused where its factory is not in the list, which is empty by default', async () => {
    const wallet = await createWallet();
    for (const [gateway, payment] of [
      [plain, await sign(wallet, plain.payTo)],
      [
        allowing,
        await sign(wallet, allowing.payTo, wallet.owner, '0x00000000000000000000000000000000000000fa'),
      ],
    ] as const) {
      const answer = await pay(gateway, payment);
      expect([answer.statusCode, answer.json().details.reason]).toEqual([400, 'eip6492_factory_not_allowed']);
    }
    expect(await isDeployed(wallet)).toBe(false);
    expect(await usdcBalance(wallet.address)).toBe(100_000_000n);
  });

  it('is neither deployed nor charged when somebody else has signed', async () => {
    const wallet = await createWallet();
    const stranger = privateKeyToAccount(generatePrivateKey());
    const answer = await pay(allowing, await sign(wallet, allowing.payTo, stranger));
    expect([answer.statusCode, answer.json().error]).toEqual([400, 'PAYMENT_VERIFICATION_FAILED']);
    expect(await isDeployed(wallet)).toBe(false);
  });

  it('pays also when somebody deploys it between verification and settlement', async () => {
    const wallet = await createWallet();
    let deployed = false;
    const racing = await startGateway({
      settings: { ERC6492_FACTORIES: factory },
      seams: {
        evmClient: client => ({
          ...client,
          async sendRawTransaction(raw) {
            if (!deployed) await deploy(wallet);
            deployed = true;
            await client.sendRawTransaction(raw);
          },
        }),
      },
    });
    expect((await pay(racing, await sign(wallet, racing.payTo))).statusCode).toBe(200);
    expect(await usdcBalance(wallet.address)).toBe(90_000_000n);
    await racing.stop();
  });
});

it('takes the wrapped signature of a wallet that is deployed, whatever its factory', async () => {
  const wallet = await createWallet();
  await deploy(wallet);
  expect((await pay(plain, await sign(wallet, plain.payTo))).statusCode).toBe(200);
  expect(await usdcBalance(wallet.address)).toBe(90_000_000n);
});
