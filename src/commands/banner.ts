import { VERSION } from '../lib/version.ts';
import type { SandboxNetwork } from '../sandbox/routes.ts';

/** Why a sandbox that had data begins anew. */
export type Emptied = 'chain lost' | 'other migrations';

const EMPTIED: Record<Emptied, string> = {
  'chain lost': 'The saved chain could not be restored, so database and chain were started empty.',
  'other migrations':
    'The saved database was made by another version, so database and chain were started empty.',
};

/** What a newcomer sees when the sandbox is up: where everything is and one request that works. */
export function sandboxBanner(sandbox: {
  origin: string;
  networks: readonly SandboxNetwork[];
  databaseUrl: string;
  adminApiKey: string;
  emptied: Emptied | undefined;
}): string {
  const { origin, networks } = sandbox;
  const database = new URL(sandbox.databaseUrl);
  const { port } = new URL(origin);
  const demo = port === '4020' ? 'npm run demo' : `PORT=${port} npm run demo`;
  const lines = [
    `x402-topup-gateway ${VERSION}  SANDBOX  test money only: never sign here with a wallet that holds real money`,
    '',
    `  gateway   ${origin}`,
    `  docs      ${origin}/docs`,
    `  database  ${database.host}${database.pathname}  (its URL: ${origin}/sandbox/v1/info)`,
    `  operator  ${origin}/admin/v1  Authorization: Bearer ${sandbox.adminApiKey}`,
    ...networks.map(n => `  chain     ${n.network}  ${n.rpcUrl}`),
    ...(sandbox.emptied ? ['', `  ${EMPTIED[sandbox.emptied]}`] : []),
    '',
    'Ask what a top-up costs:',
    `  curl -i -X POST ${origin}/api/v1/x402/top-up`,
    '',
    `See a client pay it:  ${demo}        Stop:  Ctrl-C  (the data stays)`,
    '',
  ];
  return lines.map(line => `${line}\n`).join('');
}
