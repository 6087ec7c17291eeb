import { type Static, type TSchema, Type } from 'typebox';
import { Value } from 'typebox/value';
import { revokeApiKey } from '../customers/api-keys.ts';
import { assert } from '../lib/assert.ts';
import type { Purpose, PurposeResult } from '../payments/payment.ts';
import type { AppliedPurchase, PurposeEffect } from '../payments/purpose-effect.ts';
import type { AgentKeys } from './agent-keys.ts';
import type { Frequency, PlanName } from './plans.ts';

interface Common {
  terms: string;
  customerId: string;
  /** Hash of what a repetition has to show before it is told keys. */
  answerTag?: string;
}

interface Fee {
  priceNanoUsd: string;
}

/** What agents buy, as it is stored with the payment; each kind is applied by `apply_purpose_<kind>` of the cell. */
export type AgentPurpose = Purpose &
  (
    | ({ kind: 'plan'; version: string; plan: PlanName; frequency: Frequency } & PlanKey & Common)
    | ({ kind: 'agent_topup' } & Common)
    | ({ kind: 'agent_status' } & Fee & Common)
    | ({ kind: 'agent_key'; keyId: string } & Fee & Common)
    | ({ kind: 'agent_key_revocation'; keyId: string } & Fee & Common)
  );

/** The key that a plan's answer shows: one that the payer named, else its newest, else a new one of `newKeyId`. */
interface PlanKey {
  newKeyId: string;
  namedKeyId?: string;
}

const Amount = Type.String({ pattern: '^-?[0-9]+$' });

/** The hash tells whether the key of the id is still the one that was sold; results of earlier versions lack it. */
const Key = { keyId: Type.String(), keyHash: Type.Optional(Type.String()) };

/** What is remembered of each kind of purchase, as the stored answer. */
export const RESULTS = {
  plan: Type.Object({ customerId: Type.String(), ...Key }),
  agent_topup: Type.Object({ creditLimitNanoUsd: Amount }),
  agent_status: Type.Object({
    customerId: Type.String(),
    keyIds: Type.Array(Type.String()),
    keyHashes: Type.Optional(Type.Array(Type.String())),
    plan: Type.String(),
    frequency: Type.String(),
    lastPaymentAt: Type.String(),
    activeUntil: Type.String(),
    asOf: Type.String(),
    availableNanoUsd: Amount,
  }),
  agent_key: Type.Object({ customerId: Type.String(), ...Key }),
  agent_key_revocation: Type.Object({}),
} satisfies Record<AgentPurpose['kind'], TSchema>;

type ResultKind = keyof typeof RESULTS;

/** @throws when the stored result is not what its kind writes: the row was changed by hand. */
export function readResult<K extends ResultKind>(
  kind: K,
  stored: PurposeResult | undefined,
): Static<(typeof RESULTS)[K]> {
  return Value.Parse(RESULTS[kind], stored);
}

/** What each kind does in the directory, in the transaction that credits its payment. */
export function createAgentEffects(keys: AgentKeys): Record<ResultKind, PurposeEffect> {
  return {
    async plan(db, purchase) {
      const { owner, purpose } = read(purchase, 'plan');
      const active = await keys.listActive(db, owner);
      const known = active.find(({ keyId }) => keyId === purpose.namedKeyId) ?? active[0];
      const shown = known ?? (await keys.store(db, owner, purpose.newKeyId));
      return { customerId: owner.customerId, ...shown, ...tagOf(purpose) };
    },
    agent_topup: () => Promise.resolve({}),
    async agent_status(db, purchase) {
      const { owner, purpose } = read(purchase, 'agent_status');
      const active = await keys.listActive(db, owner);
      return {
        customerId: owner.customerId,
        keyIds: active.map(({ keyId }) => keyId),
        keyHashes: active.map(({ keyHash }) => keyHash),
        ...tagOf(purpose),
      };
    },
    async agent_key(db, purchase) {
      const { owner, purpose } = read(purchase, 'agent_key');
      const made = await keys.store(db, owner, purpose.keyId);
      return { customerId: owner.customerId, ...made, ...tagOf(purpose) };
    },
    async agent_key_revocation(db, purchase) {
      const { owner, purpose } = read(purchase, 'agent_key_revocation');
      // One that was revoked in the meantime is what was asked for.
      await revokeApiKey(db, { customerId: owner.customerId, keyId: purpose.keyId });
      return {};
    },
  };
}

function read<K extends ResultKind>({ purpose, environment }: AppliedPurchase, kind: K) {
  assert(purpose.kind === kind, `the purpose is ${kind}`);
  const own = purpose as Extract<AgentPurpose, { kind: K }>;
  return { purpose: own, owner: { customerId: own.customerId, environment } };
}

const tagOf = ({ answerTag }: AgentPurpose) => (answerTag === undefined ? {} : { answerTag });
