/** An agent is a customer, and its id the customer's own in the dialect's form. */
export function formatAgentId(customerId: string): string {
  return `agt_${customerId.replaceAll('-', '')}`;
}

const AGENT_ID = /^agt_([0-9a-f]{8})([0-9a-f]{4})([0-9a-f]{4})([0-9a-f]{4})([0-9a-f]{12})$/;

/** @returns the customer's id, or undefined for what is no agent id */
export function parseAgentId(agentId: string): string | undefined {
  const [, ...parts] = AGENT_ID.exec(agentId) ?? [];
  return parts.length > 0 ? parts.join('-') : undefined;
}
