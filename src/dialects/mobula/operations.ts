import { createHash } from 'node:crypto';
import type { TObject, TSchema } from 'typebox';
import { GatewayError } from '../../lib/errors.ts';
import type { PurposeResult } from '../../payments/payment.ts';
import type { Environment } from '../../ports/environment.ts';
import type { AgentOrder, Agents } from '../../subscriptions/agents.ts';
import { FREQUENCIES, findPlan, PLAN_NAMES } from '../../subscriptions/plans.ts';
import { FEE } from './limits.ts';
import {
  KeyResult,
  NoQuery,
  RevokeQuery,
  RevokeResult,
  StatusResult,
  SubscribeQuery,
  TopupQuery,
  TopupResult,
} from './schemas.ts';
import { keyBody, readAmount, statusBody, topupBody } from './wire.ts';

export type Query = Readonly<Record<string, string | undefined>>;

/** What one call asks for, read from its query: the same on every rail. */
export interface Call {
  order: AgentOrder;
  priceNanoUsd: bigint;
  /**
   * Names what is bought. An offer is bound to it and a payment stored with it, so that neither buys anything
   * else: two plans cost the same, and so do three of the operations.
   */
  terms: string;
}

/** The credited payment of a call, as its answer needs it. */
export interface PaidCall {
  environment: Environment;
  amountNanoUsd: bigint;
  result: PurposeResult | undefined;
}

/** An operation of an agent; a rail adds how it is paid. */
export interface Operation {
  /** Below the rail's prefix. */
  path: string;
  /** Ends the operation's id in the API description. */
  id: string;
  method: 'GET' | 'DELETE';
  summary: string;
  description: string;
  query: TObject;
  result: TSchema;
  /** What 403 and 404 mean here. */
  refusals: Readonly<Record<number, string>>;
  /** Undefined: the price depends on the query. */
  fixedPriceNanoUsd: bigint | undefined;
  /** Whether the answer holds keys of the agent. */
  tellsKeys: boolean;
  /** @throws GatewayError malformed_request, amount_too_low or amount_too_high */
  read(query: Query): Call;
  answer(agents: Agents, paid: PaidCall): object;
}

const NO_AGENT = 'The paying wallet has no agent; nothing was charged';
const NO_PLAN = 'The plan is not active; nothing was charged';

const status: Operation = {
  path: '/subscription',
  id: 'Status',
  method: 'GET',
  summary: 'Plan status',
  description: 'The plan, the active keys and the credits of the paying wallet’s agent.',
  query: NoQuery,
  result: StatusResult,
  refusals: { 404: NO_AGENT },
  fixedPriceNanoUsd: FEE,
  tellsKeys: true,
  read: () => ({
    order: { kind: 'agent_status', priceNanoUsd: FEE },
    priceNanoUsd: FEE,
    terms: 'subscription',
  }),
  answer: (agents, { environment, result }) => statusBody(agents.results.status(environment, result)),
};

const subscribe: Operation = {
  path: '/subscribe',
  id: 'Subscribe',
  method: 'GET',
  summary: 'Subscribe, renew or change the plan',
  description:
    'Makes the paying wallet’s agent with a first key, or extends its plan; with `upgrade=true` another plan takes the place of an active one at once.',
  query: SubscribeQuery,
  result: KeyResult,
  refusals: { 403: 'Another plan is active, or the key or agent is not the payer’s; nothing was charged' },
  fixedPriceNanoUsd: undefined,
  tellsKeys: true,
  read(query) {
    const plan = oneOf('plan', query['plan'], PLAN_NAMES);
    const frequency = oneOf('payment_frequency', query['payment_frequency'], FREQUENCIES);
    const upgrade = ['true', '1'].includes(query['upgrade']?.trim().toLowerCase() ?? '');
    const { api_key: apiKey, user_id: userId } = query;
    return {
      order: { kind: 'plan', plan, frequency, upgrade, apiKey, userId },
      priceNanoUsd: findPlan(plan, frequency).priceNanoUsd,
      terms: termsOf('subscribe', {
        plan,
        payment_frequency: frequency,
        upgrade: upgrade ? 'true' : undefined,
        api_key: apiKey && fingerprint(apiKey),
        user_id: userId,
      }),
    };
  },
  answer: (agents, { environment, result }) => keyBody(agents.results.key('plan', environment, result)),
};

const topup: Operation = {
  path: '/top-up',
  id: 'TopUp',
  method: 'GET',
  summary: 'Top up credits',
  description: 'Adds credits that do not end to an agent with an active plan, whichever wallet pays.',
  query: TopupQuery,
  result: TopupResult,
  refusals: {
    403: 'The amount is out of range, or the agent’s plan is not active; nothing was charged',
    404: 'There is no such agent; nothing was charged',
  },
  fixedPriceNanoUsd: undefined,
  tellsKeys: false,
  read(query) {
    const { agent_id: agentId = '', amount_usd: amount = '' } = query;
    const priceNanoUsd = readAmount(amount.trim());
    return {
      order: { kind: 'agent_topup', agentId },
      priceNanoUsd,
      terms: termsOf('top-up', { agent_id: agentId, nano_usd: priceNanoUsd.toString() }),
    };
  },
  answer: (agents, { amountNanoUsd, result }) => topupBody(agents.results.topup(amountNanoUsd, result)),
};

const createKey: Operation = {
  path: '/api-keys/create',
  id: 'CreateKey',
  method: 'GET',
  summary: 'Create an API key',
  description: 'One more key for the paying wallet’s agent; the old ones stay good.',
  query: NoQuery,
  result: KeyResult,
  refusals: { 403: NO_PLAN, 404: NO_AGENT },
  fixedPriceNanoUsd: FEE,
  tellsKeys: true,
  read: () => ({
    order: { kind: 'agent_key', priceNanoUsd: FEE },
    priceNanoUsd: FEE,
    terms: 'api-keys/create',
  }),
  answer: (agents, { environment, result }) => keyBody(agents.results.key('agent_key', environment, result)),
};

const revokeKey: Operation = {
  path: '/api-keys/revoke',
  id: 'RevokeKey',
  method: 'DELETE',
  summary: 'Revoke an API key',
  description: 'The key of the paying wallet’s agent stops working at once. Answered on GET too.',
  query: RevokeQuery,
  result: RevokeResult,
  refusals: { 403: NO_PLAN, 404: 'The paying wallet has no agent or not this key; nothing was charged' },
  fixedPriceNanoUsd: FEE,
  tellsKeys: false,
  read({ api_key: apiKey = '' }) {
    return {
      order: { kind: 'agent_key_revocation', priceNanoUsd: FEE, apiKey },
      priceNanoUsd: FEE,
      terms: termsOf('api-keys/revoke', { api_key: fingerprint(apiKey) }),
    };
  },
  answer: () => ({ deleted: true }),
};

export const OPERATIONS: readonly Operation[] = [status, subscribe, topup, createKey, revokeKey];

/** Sorted and without what is absent, so that one purchase has one name. */
function termsOf(operation: string, parts: Query): string {
  const query = new URLSearchParams();
  for (const name of Object.keys(parts).sort()) {
    const value = parts[name];
    if (value !== undefined) query.set(name, value);
  }
  return `${operation}?${query.toString()}`;
}

/** Terms are stored and shown in offers, so a key is named in them and not told. */
function fingerprint(apiKey: string): string {
  return createHash('sha256').update(apiKey).digest('hex').slice(0, 32);
}

function oneOf<T extends string>(name: string, value: string | undefined, values: readonly T[]): T {
  const wanted = value?.trim().toLowerCase();
  const found = values.find(each => each === wanted);
  if (!found) throw new GatewayError('malformed_request', `${name} must be one of ${values.join(', ')}`);
  return found;
}
