import { randomBytes, timingSafeEqual } from 'node:crypto';
import { Challenge, Credential, Errors, PaymentRequest, Receipt } from 'mppx';
import { decodeFunctionData, keccak256 } from 'viem';
import { Abis, Transaction } from 'viem/tempo';
import { topicAddress } from '../lib/eip3009.ts';
import type { Environment } from '../ports/environment.ts';
import type { EvmClient, EvmLog } from '../ports/evm-client.ts';
import type { TempoPayment } from '../ports/payment.ts';
import { isBoundMemo } from './mpp-memo.ts';

/** Where the money goes, and what the challenges are signed with. */
export interface MppOptions {
  /** 32 bytes or more; signs what a challenge says. */
  secretKey: string;
  /** The public host name; the payer's memo names it. */
  realm: string;
  chainId: number;
  /** TIP-20 token, in lower case. */
  currency: string;
  /** In lower case. */
  recipient: string;
  /** Reads what a payer has sent itself. */
  client: EvmClient;
}

/** What one request asks to be paid. */
export interface MppDemand {
  amountBaseUnits: bigint;
  description: string;
  /** What is bought; a credential for other terms is refused. */
  terms: string;
}

/** Why a credential is not taken: an error of MPP, which gives its own problem document. */
export class MppRefusal extends Error {
  constructor(readonly problem: Errors.PaymentError) {
    super(problem.message);
    this.name = 'MppRefusal';
  }
}

export interface MppProtocol {
  /** A fresh challenge as the value of `WWW-Authenticate`, and the problem document that goes with it. */
  challenge(demand: MppDemand, problem?: Errors.PaymentError): Promise<{ header: string; body: object }>;
  /**
   * Reads the payment of a request.
   * @param authorization value of the header
   * @returns undefined when the header carries no MPP credential
   * @throws MppRefusal for a credential that is not a payment of this demand, `unavailable`
   */
  readPayment(authorization: string | undefined, demand: MppDemand): Promise<TempoPayment | undefined>;
  /** Value of `Payment-Receipt`. */
  receipt(transaction: string, at: Date): string;
}

/** One network that is paid by MPP, as a surface needs it. */
export interface MppRail {
  protocol: MppProtocol;
  environment: Environment;
  /** CAIP-2. */
  network: string;
  currency: string;
  decimals: number;
}

const METHOD = 'tempo';
const INTENT = 'charge';
const LIFETIME_MS = 5 * 60_000;
/** Longer than any honest credential. */
const MAX_CREDENTIAL_LENGTH = 16_384;
const NONCE_BYTES = 16;
const HASH = /^0x[0-9a-fA-F]{64}$/;

/** Makes challenges and reads credentials of the method `tempo`, intent `charge`. Nothing is remembered between. */
export function createMpp(options: MppOptions, nowMs: () => number): MppProtocol {
  const { secretKey, realm, chainId, currency, recipient, client } = options;

  /**
   * The id is a signature over everything that the challenge says. The nonce makes it one caller's own: what is on
   * chain names the id's hash, so whoever was given the same id could present that payment as theirs.
   */
  function challengeOf({ amountBaseUnits, description, terms }: MppDemand, expires: string, nonce: string) {
    return Challenge.from({
      secretKey,
      realm,
      method: METHOD,
      intent: INTENT,
      request: { amount: amountBaseUnits.toString(), currency, methodDetails: { chainId }, recipient },
      description,
      expires: expires as `${number}-${number}-${number}T${string}`,
      meta: { terms, nonce },
    });
  }

  /** What this very request would be asked, with the credential's own time and nonce, must be what it answers. */
  function requireAnswered(demand: MppDemand, { challenge }: Credential.Credential): string {
    const { id, expires } = challenge;
    const nonce = nonceOf(challenge);
    const asked =
      expires === undefined || nonce === undefined ? undefined : challengeOf(demand, expires, nonce);
    if (!asked || !sameText(asked.id, id) || !Challenge.verify(challenge, { secretKey })) {
      throw refused(
        new Errors.InvalidChallengeError({ reason: 'it was not issued for this request by this server' }),
      );
    }
    return id;
  }

  async function readPayment(
    authorization: string | undefined,
    demand: MppDemand,
  ): Promise<TempoPayment | undefined> {
    const presented =
      authorization === undefined ? undefined : Credential.extractPaymentScheme(authorization);
    if (!presented) return undefined;
    if (presented.length > MAX_CREDENTIAL_LENGTH) throw refused(new Errors.MalformedCredentialError());
    const credential = parse(presented);
    const challengeId = requireAnswered(demand, credential);
    const payload = (credential.payload ?? {}) as { type?: unknown; signature?: unknown; hash?: unknown };
    const call = { demand, challengeId, presented, source: credential.source };
    if (payload.type === 'transaction' && typeof payload.signature === 'string') {
      return readSigned(payload.signature, call);
    }
    if (payload.type === 'hash' && typeof payload.hash === 'string' && HASH.test(payload.hash)) {
      return readSent(payload.hash.toLowerCase(), call);
    }
    throw refused(new Errors.InvalidPayloadError());
  }

  interface PresentedCall {
    demand: MppDemand;
    challengeId: string;
    presented: string;
    source: string | undefined;
  }

  /** Pull: the payer is who signed the bytes, never who the credential says it is. */
  function readSigned(raw: string, { demand, challengeId, presented }: PresentedCall): TempoPayment {
    const signed = deserialize(raw);
    const memo = signed?.calls
      .map(call => readTransfer(call, demand.amountBaseUnits))
      .find(each => each !== undefined && isBoundMemo(each, { realm, challengeId }));
    if (!signed || memo === undefined) {
      throw failed('no transfer of this amount to this receiver is signed for this challenge');
    }
    if (signed.validBefore === 0n) throw failed('the transaction must expire');
    const { hash, payer, validBefore } = signed;
    return paymentOf(demand, payer, {
      hash,
      raw: raw.toLowerCase(),
      validBefore,
      memo,
      credential: presented,
    });
  }

  /** The memo of a call that moves exactly this amount to us; undefined for any other call. */
  function readTransfer(call: SignedCall, amountBaseUnits: bigint): string | undefined {
    if (call.to?.toLowerCase() !== currency || !call.data) return undefined;
    try {
      const { functionName, args } = decodeFunctionData({ abi: Abis.tip20, data: call.data });
      if (functionName !== 'transferWithMemo') return undefined;
      const [to, amount, memo] = args;
      return to.toLowerCase() === recipient && amount === amountBaseUnits ? memo.toLowerCase() : undefined;
    } catch {
      return undefined;
    }
  }

  /** Push: the payer is whose money the token says has moved. */
  async function readSent(hash: string, call: PresentedCall): Promise<TempoPayment> {
    const { demand, challengeId, presented, source } = call;
    const receipt = await client.receipt(hash);
    const log = receipt?.succeeded
      ? receipt.logs.find(each => isOurs(each) && isBoundMemo(each.topics[3] ?? '', { realm, challengeId }))
      : undefined;
    if (!log || BigInt(log.data) !== demand.amountBaseUnits) {
      throw failed('the transaction has made no transfer of this amount for this challenge');
    }
    const payer = topicAddress(log.topics[1]);
    if (source !== undefined && source.toLowerCase() !== `did:pkh:eip155:${chainId}:${payer}`) {
      throw failed('the money did not come from the source of the credential');
    }
    return paymentOf(demand, payer, {
      hash,
      validBefore: 0n,
      memo: log.topics[3] ?? '',
      credential: presented,
    });
  }

  function isOurs({ address, topics }: EvmLog): boolean {
    return address === currency && topics.length === 4 && topicAddress(topics[2]) === recipient;
  }

  function paymentOf(
    { amountBaseUnits }: MppDemand,
    payer: string,
    transfer: TempoPayment['transfer'],
  ): TempoPayment {
    return {
      kind: 'tempo',
      scheme: 'exact',
      network: `eip155:${chainId}`,
      asset: currency,
      payTo: recipient,
      payer,
      amountBaseUnits,
      identity: `mpp:${chainId}:${transfer.hash}`,
      transfer,
    };
  }

  return {
    readPayment,
    challenge(demand, problem = new Errors.PaymentRequiredError({ description: demand.description })) {
      const expires = new Date(nowMs() + LIFETIME_MS).toISOString();
      const challenge = challengeOf(demand, expires, randomBytes(NONCE_BYTES).toString('base64url'));
      return Promise.resolve({
        header: Challenge.serialize(challenge),
        body: problem.toProblemDetails(challenge.id),
      });
    },
    receipt(reference, at) {
      return Receipt.serialize(
        Receipt.from({ method: METHOD, status: 'success', timestamp: at.toISOString(), reference }),
      );
    },
  };
}

interface SignedCall {
  to?: string | undefined;
  data?: `0x${string}` | undefined;
}

/** The parts of a signed Tempo transaction that matter; undefined for anything else. */
function deserialize(
  raw: string,
): { hash: string; payer: string; validBefore: bigint; calls: readonly SignedCall[] } | undefined {
  if (!/^0x76[0-9a-fA-F]*$/.test(raw)) return undefined;
  try {
    const transaction = Transaction.deserialize(raw as Transaction.TransactionSerializedTempo);
    const { from, calls, validBefore, signature } = transaction;
    if (!from || !signature || !calls) return undefined;
    return {
      hash: keccak256(raw as `0x${string}`),
      payer: from.toLowerCase(),
      validBefore: BigInt(validBefore ?? 0),
      calls: calls.map(({ to, data }) => ({ to: to ?? undefined, data: data ?? undefined })),
    };
  } catch {
    return undefined;
  }
}

function parse(presented: string): Credential.Credential {
  try {
    return Credential.deserialize(presented);
  } catch {
    throw refused(new Errors.MalformedCredentialError());
  }
}

/** Of what we put into a challenge, the part that cannot be computed again; a credential carries it encoded. */
function nonceOf({ opaque }: Challenge.Challenge): string | undefined {
  try {
    const nonce = opaque && PaymentRequest.deserialize(opaque)['nonce'];
    return typeof nonce === 'string' ? nonce : undefined;
  } catch {
    return undefined;
  }
}

function sameText(a: string, b: string): boolean {
  const [left, right] = [Buffer.from(a), Buffer.from(b)];
  return left.length === right.length && timingSafeEqual(left, right);
}

function refused(problem: Errors.PaymentError): MppRefusal {
  return new MppRefusal(problem);
}

function failed(reason: string): MppRefusal {
  return refused(new Errors.VerificationFailedError({ reason }));
}

/** The problem of a payment that was refused or proved not to have moved money. */
export function problemOf(reason: string, message?: string): Errors.PaymentError {
  if (reason === 'payment-expired' || reason === 'expired') return new Errors.PaymentExpiredError();
  return new Errors.VerificationFailedError({ reason: message ?? reason.replaceAll('_', ' ') });
}
