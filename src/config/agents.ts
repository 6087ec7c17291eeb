import type { Values } from './read.ts';

/** Agents, their keys and what they pay by MPP. */
export interface AgentConfig {
  /** Signs challenges. Empty: the dialect mobula is not served. */
  mppSecretKey: string;
  /** What agents' API keys are derived from. */
  agentKeySecret: string;
  creditsPerUsd: bigint;
}

const MIN_SECRET_LENGTH = 32;

export function parseAgents(values: Values, problems: string[]): AgentConfig {
  for (const name of ['MPP_SECRET_KEY', 'AGENT_KEY_SECRET'] as const) {
    if (values[name] && values[name].length < MIN_SECRET_LENGTH)
      problems.push(`${name} must be ${MIN_SECRET_LENGTH} characters or more`);
  }
  const isNumber = /^[1-9]\d{0,8}$/.test(values.CREDITS_PER_USD);
  if (!isNumber) problems.push('CREDITS_PER_USD must be a whole number above 0');
  return {
    mppSecretKey: values.MPP_SECRET_KEY,
    agentKeySecret: values.AGENT_KEY_SECRET || values.MPP_SECRET_KEY,
    creditsPerUsd: isNumber ? BigInt(values.CREDITS_PER_USD) : 0n,
  };
}
