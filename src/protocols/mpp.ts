import { randomBytes, timingSafeEqual } from 'node:crypto';
import { Challenge, Credential, Errors, PaymentRequest, Receipt } from 'mppx';
import type { Environment } from '../ports/environment.ts';
import type { TempoPayment } from '../ports/payment.ts';
import type { TempoClient } from '../ports/tempo-client.ts';
import { isBoundMemo } from './mpp-memo.ts';
import { refused } from './mpp-refusal.ts';
import { readSentTransfer } from './mpp-sent.ts';
import { readSignedTransfer } from './mpp-signed.ts';

export { MppRefusal, problemOf } from './mpp-refusal.ts';

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
  client: TempoClient;
}

/** What one request asks to be paid. */
export interface MppDemand {
  amountBaseUnits: bigint;
  description: string;
  /** What is bought; a credential for other terms is refused. */
  terms: string;
}

/** The payment of a request. */
export interface MppPayment {
  payment: TempoPayment;
  /** Why it does not pay for what is asked, though its payer has sent the money: it may be credited and buys nothing. */
  unfit?: string | undefined;
}

export interface MppProtocol {
  /** A fresh challenge as the value of `WWW-Authenticate`, and the problem document that goes with it. */
  challenge(demand: MppDemand, problem?: Errors.PaymentError): Promise<{ header: string; body: object }>;
  /**
   * Reads the payment of a request.
   * @param authorization value of the header
   * @returns undefined when the header carries no MPP credential
   * @throws MppRefusal for a credential that is no payment of this demand and has moved no money, GatewayError
   * `settlement_pending` while the chain does not show what the payer has sent, `unavailable`
   */
  readPayment(authorization: string | undefined, demand: MppDemand): Promise<MppPayment | undefined>;
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

/** A challenge that was issued here. */
interface OwnChallenge {
  id: string;
  expires: string;
}

const METHOD = 'tempo';
const INTENT = 'charge';
const LIFETIME_MS = 5 * 60_000;
/** Longer than any honest credential. */
const MAX_CREDENTIAL_LENGTH = 16_384;
const NONCE_BYTES = 16;
const HASH = /^0x[0-9a-fA-F]{64}$/;
const AMOUNT = /^[0-9]{1,78}$/;

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
  function requireAnswered(demand: MppDemand, { challenge }: Credential.Credential): OwnChallenge {
    const { id, expires } = challenge;
    const nonce = nonceOf(challenge);
    if (
      expires === undefined ||
      nonce === undefined ||
      !sameText(challengeOf(demand, expires, nonce).id, id) ||
      !Challenge.verify(challenge, { secretKey })
    ) {
      throw refused(
        new Errors.InvalidChallengeError({ reason: 'it was not issued for this request by this server' }),
      );
    }
    return { id, expires };
  }

  async function readPayment(
    authorization: string | undefined,
    demand: MppDemand,
  ): Promise<MppPayment | undefined> {
    const presented =
      authorization === undefined ? undefined : Credential.extractPaymentScheme(authorization);
    if (!presented) return undefined;
    if (presented.length > MAX_CREDENTIAL_LENGTH) throw refused(new Errors.MalformedCredentialError());
    const credential = parse(presented);
    const payload = (credential.payload ?? {}) as { type?: unknown; signature?: unknown; hash?: unknown };
    if (payload.type === 'hash' && typeof payload.hash === 'string' && HASH.test(payload.hash)) {
      // What it was asked then is what it has paid, whatever the price is now.
      const asked = { ...demand, amountBaseUnits: amountOf(credential) ?? demand.amountBaseUnits };
      const challenge = requireAnswered(asked, credential);
      const { source } = credential;
      return readSent(payload.hash.toLowerCase(), { demand, challenge, presented, source });
    }
    const challenge = requireAnswered(demand, credential);
    if (payload.type === 'transaction' && typeof payload.signature === 'string') {
      return { payment: readSigned(payload.signature, { demand, challenge, presented }) };
    }
    throw refused(new Errors.InvalidPayloadError());
  }

  interface PresentedCall {
    demand: MppDemand;
    challenge: OwnChallenge;
    presented: string;
  }

  /** Pull: the payer is who signed the bytes, never who the credential says it is. */
  function readSigned(raw: string, { demand, challenge, presented }: PresentedCall): TempoPayment {
    const { amountBaseUnits } = demand;
    const { id: challengeId, expires } = challenge;
    const { payer, hash, validBefore, memo } = readSignedTransfer(raw, {
      token: currency,
      recipient,
      amountBaseUnits,
      isMemo: text => isBoundMemo(text, { realm, challengeId }),
      chainId,
      expires,
    });
    return paymentOf(demand, payer, {
      hash,
      raw: raw.toLowerCase(),
      validBefore,
      memo,
      credential: presented,
    });
  }

  /** Push: the payer is whose money the token says has moved. Neither expiry nor price matter to money that has. */
  async function readSent(
    hash: string,
    { demand, challenge, presented, source }: PresentedCall & { source: string | undefined },
  ): Promise<MppPayment> {
    const challengeId = challenge.id;
    const { payer, amountBaseUnits, memo, unfit } = await readSentTransfer(client, hash, {
      token: currency,
      recipient,
      amountBaseUnits: demand.amountBaseUnits,
      isMemo: text => isBoundMemo(text, { realm, challengeId }),
      source,
      chainId,
    });
    const transfer = { hash, validBefore: 0n, memo, credential: presented };
    return { payment: paymentOf({ amountBaseUnits }, payer, transfer), unfit };
  }

  function paymentOf(
    { amountBaseUnits }: Pick<MppDemand, 'amountBaseUnits'>,
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

/** What the challenge of a credential says it asked for. */
function amountOf({ challenge }: Credential.Credential): bigint | undefined {
  const { amount } = challenge.request;
  return typeof amount === 'string' && AMOUNT.test(amount) ? BigInt(amount) : undefined;
}

function sameText(a: string, b: string): boolean {
  const [left, right] = [Buffer.from(a), Buffer.from(b)];
  return left.length === right.length && timingSafeEqual(left, right);
}
