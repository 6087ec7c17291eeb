import { findAgent, resolveAgent } from '../customers/agent-customers.ts';
import { hashApiKey } from '../customers/api-key-format.ts';
import { findApiKey } from '../customers/api-keys.ts';
import { type Customer, findCustomer } from '../customers/customers.ts';
import { orUnavailable } from '../db/pg-errors.ts';
import type { Queryable } from '../db/queryable.ts';
import { assertNever } from '../lib/assert.ts';
import type { Clock } from '../lib/clock.ts';
import { GatewayError } from '../lib/errors.ts';
import { newId } from '../lib/ids.ts';
import type { PurposeResult } from '../payments/payment.ts';
import type { Environment } from '../ports/environment.ts';
import { formatAgentId, parseAgentId } from './agent-id.ts';
import type { AgentKeys } from './agent-keys.ts';
import { type AgentPurpose, readResult } from './agent-purposes.ts';
import { type AgentState, readAgent, versionOf } from './agent-store.ts';
import type { CreditView } from './credits.ts';
import { type Frequency, findPlan, type PlanName } from './plans.ts';

/** The wallet that pays, which names the agent. */
export interface Payer {
  environment: Environment;
  /** CAIP-2. */
  network: string;
  /** Canonical form. */
  address: string;
}

/** What is asked for, with everything that the request says. Amounts in nano-USD. */
export type AgentOrder =
  | { kind: 'agent_status'; priceNanoUsd: bigint }
  | {
      kind: 'plan';
      plan: PlanName;
      frequency: Frequency;
      upgrade: boolean;
      apiKey: string | undefined;
      userId: string | undefined;
    }
  | { kind: 'agent_topup'; agentId: string }
  | { kind: 'agent_key'; priceNanoUsd: bigint }
  | { kind: 'agent_key_revocation'; priceNanoUsd: bigint; apiKey: string };

export interface PreparedOrder {
  /** Whose account is credited and charged. */
  customer: Customer;
  purpose: AgentPurpose;
}

/** A plan as its agent may see it. */
export interface AgentStatus {
  agentId: string;
  apiKeys: string[];
  plan: string;
  frequency: string;
  lastPaymentAt: Date;
  activeUntil: Date;
  asOf: Date;
  availableCredits: bigint;
}

export interface Agents {
  /**
   * Checks what may be refused only before money moves, and says what to store with the payment.
   * @param terms names the purchase
   * @throws GatewayError not_found (no such agent or key) or forbidden (no active plan, not the payer's)
   */
  prepare(payer: Payer, order: AgentOrder, terms: string): Promise<PreparedOrder>;
  /** Whose credit the money is of a purchase that the rules forbid after it has moved: the payer's own agent. */
  creditorOf(payer: Payer): Promise<Customer>;
  /**
   * What a purchase came to, from what is stored of it. Those that tell keys throw GatewayError `conflict` when a key
   * cannot be made anew, because the secret was replaced.
   */
  readonly results: {
    status(environment: Environment, stored: PurposeResult | undefined): AgentStatus;
    key(
      kind: 'plan' | 'agent_key',
      environment: Environment,
      stored: PurposeResult | undefined,
    ): { agentId: string; apiKey: string };
    topup(
      amountNanoUsd: bigint,
      stored: PurposeResult | undefined,
    ): { creditsAdded: bigint; creditLimit: bigint };
  };
}

export interface AgentsOptions {
  db: Queryable;
  clock: Clock;
  keys: AgentKeys;
  credits: CreditView;
}

/** Keys that one agent may have at a time: what its status can list. */
const MAX_KEYS = 100;

export function createAgents({ db, clock, keys, credits }: AgentsOptions): Agents {
  const stateOf = ({ cell, accountId }: Customer) => readAgent(db, cell, accountId, new Date(clock.nowMs()));

  async function requireAgent(payer: Payer): Promise<{ customer: Customer; state: AgentState }> {
    const customer = await findAgent(db, payer);
    const state = customer && (await stateOf(customer));
    if (!customer || !state) throw new GatewayError('not_found', 'this wallet has no agent: subscribe first');
    return { customer, state };
  }

  async function requireActive(payer: Payer): Promise<Customer> {
    const { customer, state } = await requireAgent(payer);
    if (!state.active) throw new GatewayError('forbidden', 'this needs an active plan: subscribe first');
    return customer;
  }

  /** The id of a usable key of this customer; undefined for anything else. */
  async function findOwnKey(customer: Customer, apiKey: string): Promise<string | undefined> {
    const keyHash = hashApiKey('mobula', apiKey);
    const key = keyHash && (await findApiKey(db, keyHash));
    return key && !key.revokedAt && key.customer.customerId === customer.customerId ? key.keyId : undefined;
  }

  async function preparePlan(payer: Payer, order: Extract<AgentOrder, { kind: 'plan' }>) {
    const customer = await resolveAgent(db, payer);
    if (order.userId !== undefined && order.userId !== formatAgentId(customer.customerId)) {
      throw new GatewayError('forbidden', 'user_id is not the agent of the paying wallet');
    }
    const namedKeyId = order.apiKey === undefined ? undefined : await findOwnKey(customer, order.apiKey);
    if (order.apiKey !== undefined && namedKeyId === undefined) {
      throw new GatewayError('forbidden', 'api_key is not a key of the paying wallet');
    }
    const state = await stateOf(customer);
    if (state?.active && state.plan !== order.plan && !order.upgrade) {
      throw new GatewayError('forbidden', `the plan ${state.plan} is active: add upgrade=true to change it`);
    }
    const plan = findPlan(order.plan, order.frequency);
    return {
      customer,
      purpose: {
        kind: order.kind,
        version: versionOf(plan, credits),
        plan: order.plan,
        frequency: order.frequency,
        newKeyId: newId(),
        ...(namedKeyId !== undefined && { namedKeyId }),
      },
    };
  }

  async function prepareTopup(payer: Payer, agentId: string): Promise<Customer> {
    const customerId = parseAgentId(agentId);
    const { environment } = payer;
    const customer = customerId && (await findCustomer(db, { customerId, environment }));
    const state = customer && (await stateOf(customer));
    if (!customer || !state) throw new GatewayError('not_found', 'there is no such agent');
    if (!state.active) throw new GatewayError('forbidden', 'a top-up needs an active plan: subscribe first');
    return customer;
  }

  async function prepareKey(payer: Payer): Promise<{ customer: Customer; keyId: string }> {
    const customer = await requireActive(payer);
    const { environment } = payer;
    const active = await keys.listActive(db, { customerId: customer.customerId, environment });
    if (active.length >= MAX_KEYS)
      throw new GatewayError('forbidden', `an agent has at most ${MAX_KEYS} keys`);
    return { customer, keyId: newId() };
  }

  async function prepareRevocation(
    payer: Payer,
    apiKey: string,
  ): Promise<{ customer: Customer; keyId: string }> {
    const { customer, state } = await requireAgent(payer);
    const keyId = await findOwnKey(customer, apiKey);
    if (keyId === undefined) throw new GatewayError('not_found', 'this wallet has no such API key');
    if (!state.active) throw new GatewayError('forbidden', 'this needs an active plan: subscribe first');
    return { customer, keyId };
  }

  async function prepare(payer: Payer, order: AgentOrder, terms: string): Promise<PreparedOrder> {
    const common = ({ customerId }: Customer) => ({ terms, customerId });
    const fee = (priceNanoUsd: bigint) => ({ priceNanoUsd: priceNanoUsd.toString() });
    switch (order.kind) {
      case 'plan': {
        const { customer, purpose } = await preparePlan(payer, order);
        return { customer, purpose: { ...purpose, ...common(customer) } };
      }
      case 'agent_topup': {
        const customer = await prepareTopup(payer, order.agentId);
        return { customer, purpose: { kind: order.kind, ...common(customer) } };
      }
      case 'agent_status': {
        const { customer } = await requireAgent(payer);
        return { customer, purpose: { kind: order.kind, ...fee(order.priceNanoUsd), ...common(customer) } };
      }
      case 'agent_key':
      case 'agent_key_revocation': {
        const { customer, keyId } =
          order.kind === 'agent_key' ? await prepareKey(payer) : await prepareRevocation(payer, order.apiKey);
        const { kind, priceNanoUsd } = order;
        return { customer, purpose: { kind, keyId, ...fee(priceNanoUsd), ...common(customer) } };
      }
      default:
        return assertNever(order);
    }
  }

  return {
    prepare: (payer, order, terms) => orUnavailable(prepare(payer, order, terms)),
    creditorOf: payer => orUnavailable(resolveAgent(db, payer)),
    results: {
      status(environment, stored) {
        const result = readResult('agent_status', stored);
        return {
          agentId: formatAgentId(result.customerId),
          apiKeys: result.keyIds.map((keyId, index) =>
            keys.reveal(environment, { keyId, keyHash: result.keyHashes?.[index] }),
          ),
          plan: result.plan,
          frequency: result.frequency,
          lastPaymentAt: new Date(result.lastPaymentAt),
          activeUntil: new Date(result.activeUntil),
          asOf: new Date(result.asOf),
          availableCredits: credits.creditsOf(BigInt(result.availableNanoUsd)),
        };
      },
      key(kind, environment, stored) {
        const { customerId, ...key } = readResult(kind, stored);
        return { agentId: formatAgentId(customerId), apiKey: keys.reveal(environment, key) };
      },
      topup(amountNanoUsd, stored) {
        const { creditLimitNanoUsd } = readResult('agent_topup', stored);
        return {
          creditsAdded: credits.creditsOf(amountNanoUsd),
          creditLimit: credits.creditsOf(BigInt(creditLimitNanoUsd)),
        };
      },
    },
  };
}
