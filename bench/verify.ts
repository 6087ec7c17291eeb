import { x402Facilitator } from '@x402/core/facilitator';
import { decodePaymentSignatureHeader } from '@x402/core/http';
import { toFacilitatorEvmSigner } from '@x402/evm';
import { ExactEvmScheme } from '@x402/evm/exact/facilitator';
import { generatePrivateKey, privateKeyToAccount } from 'viem/accounts';
import { findEvmNetwork } from '../src/chains/evm-networks.ts';
import { createContractWalletVerifier } from '../src/facilitators/contract-wallet.ts';
import { createEmbeddedFacilitator } from '../src/facilitators/embedded.ts';
import { encodeBase64Json } from '../src/lib/base64.ts';
import { systemClock } from '../src/lib/clock.ts';
import type { EvmClient } from '../src/ports/evm-client.ts';
import { decodeExactPayment } from '../src/protocols/x402-exact.ts';
import { median, progress, report } from './report.ts';

const NETWORK = 'eip155:8453';
const PAY_TO = '0x2670B922ef37C7Df47158725C0CC407b5382293F';
const GAS_PAYER = `0x${'11'.repeat(20)}` as const;
const AMOUNT = 10_000_000n;

const PAYMENTS = 400;
const ROUNDS = 7;
const ROUND_MS = 1_000;
const WARM_UP_MS = 1_500;

/** Takes a payment header as a client sends it and tells whether the payment is good. */
type Verifier = (header: string) => Promise<boolean>;

const base = findEvmNetwork(NETWORK);
if (!base) throw new Error(`${NETWORK} is not in the table of networks`);
const { usdc, chainId, settleGas, alias, maxTimeoutSeconds } = base;
const token = { name: usdc.name, version: usdc.version, chainId, verifyingContract: usdc.address };

/** The chain of both: payers are plain keys, the asset is a contract, every simulated transfer succeeds. */
const codeOf = (address: string) => (address.toLowerCase() === usdc.address ? '0x60' : '0x');

const requirements = {
  scheme: 'exact',
  network: NETWORK,
  asset: usdc.address,
  amount: AMOUNT.toString(),
  payTo: PAY_TO,
  maxTimeoutSeconds,
  extra: { name: usdc.name, version: usdc.version },
} as const;

/** Signs as @x402/evm does: the whole of version 2, `accepted` included. */
async function signHeader(validForSeconds: number): Promise<string> {
  const payer = privateKeyToAccount(generatePrivateKey());
  const now = Math.floor(Date.now() / 1000);
  const authorization = {
    from: payer.address,
    to: PAY_TO,
    value: AMOUNT,
    validAfter: BigInt(now - 600),
    validBefore: BigInt(now + validForSeconds),
    nonce: generatePrivateKey(),
  } as const;
  const signature = await payer.signTypedData({
    domain: { ...token, verifyingContract: usdc.address as `0x${string}` },
    types: {
      TransferWithAuthorization: [
        { name: 'from', type: 'address' },
        { name: 'to', type: 'address' },
        { name: 'value', type: 'uint256' },
        { name: 'validAfter', type: 'uint256' },
        { name: 'validBefore', type: 'uint256' },
        { name: 'nonce', type: 'bytes32' },
      ],
    },
    primaryType: 'TransferWithAuthorization',
    message: authorization,
  });
  const { value, validAfter, validBefore } = authorization;
  const texts = { value: `${value}`, validAfter: `${validAfter}`, validBefore: `${validBefore}` };
  return encodeBase64Json({
    x402Version: 2,
    accepted: requirements,
    payload: { signature, authorization: { ...authorization, ...texts } },
  });
}

/** The same payment with one digit of the signature changed. */
function corrupt(header: string): string {
  const payment = JSON.parse(Buffer.from(header, 'base64').toString('utf8')) as {
    payload: { signature: string };
  };
  const { signature } = payment.payload;
  const digit = signature[20] === '0' ? '1' : '0';
  payment.payload.signature = `${signature.slice(0, 20)}${digit}${signature.slice(21)}`;
  return encodeBase64Json(payment);
}

const refuse = (): never => {
  throw new Error('verifying a plain payment asks nothing else of the chain');
};

function createOurs(): Verifier {
  const client: EvmClient = {
    network: NETWORK,
    code: address => Promise.resolve(codeOf(address)),
    call: () => Promise.resolve('0x'),
    chainId: refuse,
    blockNumber: refuse,
    safeBlock: refuse,
    blockHash: refuse,
    balance: refuse,
    transactionCount: refuse,
    gasPrice: refuse,
    sendRawTransaction: refuse,
    receipt: refuse,
    transactionData: refuse,
    logs: refuse,
  };
  const facilitator = createEmbeddedFacilitator(
    [
      {
        network: NETWORK,
        token,
        settleGas,
        walletFactories: new Set(),
        client,
        lanes: {
          addresses: [GAS_PAYER],
          send: refuse,
          transactionsOf: refuse,
          maintain: refuse,
          checkCapacity: refuse,
          forget: refuse,
        },
        contractWallets: createContractWalletVerifier(NETWORK, token, client, GAS_PAYER),
      },
    ],
    systemClock,
  );
  const options = [
    { network: NETWORK, networkAlias: alias, asset: usdc.address, payTo: PAY_TO.toLowerCase() },
  ];
  return async header => {
    const result = await facilitator.verify(decodeExactPayment(header, options));
    return result.kind === 'valid';
  };
}

function createOfficial(): Verifier {
  const signer = toFacilitatorEvmSigner({
    address: GAS_PAYER,
    getCode: ({ address }) => Promise.resolve(codeOf(address) as `0x${string}`),
    // Answers before any call data is encoded, which is to the official side's advantage.
    readContract: () => Promise.resolve(undefined),
    verifyTypedData: refuse,
    writeContract: refuse,
    sendTransaction: refuse,
    waitForTransactionReceipt: refuse,
  });
  const facilitator = new x402Facilitator().register(NETWORK, new ExactEvmScheme(signer));
  return async header => {
    const result = await facilitator.verify(decodePaymentSignatureHeader(header), requirements);
    return result.isValid;
  };
}

async function requireSameVerdicts(verifiers: Record<string, Verifier>, headers: string[]): Promise<void> {
  for (const [name, verify] of Object.entries(verifiers)) {
    for (const header of headers.slice(0, 20)) {
      if (!(await verify(header))) throw new Error(`${name} refuses a good payment`);
      if (await verify(corrupt(header))) throw new Error(`${name} accepts a corrupted signature`);
    }
  }
}

/** Verifies one payment after another for the given time. @returns payments per second */
async function measure(verify: Verifier, headers: readonly string[], durationMs: number): Promise<number> {
  const start = performance.now();
  let verified = 0;
  let elapsedMs = 0;
  while (elapsedMs < durationMs) {
    for (let i = 0; i < 20; i += 1) {
      const header = headers[verified % headers.length] ?? '';
      if (!(await verify(header))) throw new Error('a good payment was refused while measuring');
      verified += 1;
    }
    elapsedMs = performance.now() - start;
  }
  return (verified / elapsedMs) * 1000;
}

/** From payment header to verdict, ours and official in turn over the same payments, in one process. */
export async function run(): Promise<void> {
  const ours = createOurs();
  const official = createOfficial();
  progress(`signing ${PAYMENTS} payments of as many wallets`);
  const headers = await Promise.all(Array.from({ length: PAYMENTS }, () => signHeader(maxTimeoutSeconds)));
  await requireSameVerdicts({ ours, official }, headers);
  progress('both accept good payments and refuse corrupted ones');
  for (const verify of [ours, official]) await measure(verify, headers, WARM_UP_MS);
  const rates: { ours: number[]; official: number[] } = { ours: [], official: [] };
  for (let round = 1; round <= ROUNDS; round += 1) {
    const one = await measure(ours, headers, ROUND_MS);
    const other = await measure(official, headers, ROUND_MS);
    rates.ours.push(one);
    rates.official.push(other);
    progress(`round ${round}: ours ${one.toFixed(0)}/s, official ${other.toFixed(0)}/s`);
  }
  const value = median(rates.ours);
  report({
    name: 'verify.evm',
    value,
    unit: 'payments/s',
    baseline: 'official',
    ratio: value / median(rates.official),
  });
}
