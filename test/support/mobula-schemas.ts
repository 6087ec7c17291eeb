import { createRequire } from 'node:module';
import path from 'node:path';
import { expect } from 'vitest';
import { CLIENTS_FOLDER } from '../../scripts/clients.ts';

interface Schema {
  safeParse(body: unknown): { success: boolean; error?: { issues: unknown[] } };
}

const published = createRequire(path.join(CLIENTS_FOLDER, 'package.json'))('@mobula_labs/types') as Record<
  `${'X402' | 'Mpp'}Agent${'Credentials' | 'TopUp'}ResponseSchema`,
  Schema
>;

const SCHEMAS = {
  x402: {
    credentials: published.X402AgentCredentialsResponseSchema,
    topUp: published.X402AgentTopUpResponseSchema,
  },
  mpp: {
    credentials: published.MppAgentCredentialsResponseSchema,
    topUp: published.MppAgentTopUpResponseSchema,
  },
} as const;

/** Which answers @mobula_labs/types describes: status and revocation it does not. */
function schemaOf(rail: keyof typeof SCHEMAS, route: string): Schema | undefined {
  const [operation] = route.split('?');
  if (operation === '/subscribe' || operation === '/api-keys/create') return SCHEMAS[rail].credentials;
  return operation === '/top-up' ? SCHEMAS[rail].topUp : undefined;
}

/**
 * Reads an answer of success by the published schema of its operation, if there is one.
 * @param route below the rail's prefix, with its query
 */
export function expectPublishedShape(
  rail: keyof typeof SCHEMAS,
  route: string,
  { status, body }: { status: number; body: unknown },
): void {
  if (status !== 200) return;
  const read = schemaOf(rail, route)?.safeParse(body);
  expect([route, read?.error?.issues]).toEqual([route, undefined]);
}
