import type { FastifyInstance } from 'fastify';
import { Type } from 'typebox';

/** One thing that readiness depends on. */
export interface ReadinessCheck {
  name: string;
  /** @returns problems, each naming the setting to change; an empty list is good. Must have a deadline. */
  run: () => Promise<string[]>;
  /** What an operator should know although money can be taken. Must have a deadline. */
  notes?: () => Promise<string[]>;
}

/** What one check found. */
export interface CheckReport {
  name: string;
  ok: boolean;
  problems: string[];
  notes: string[];
}

/** Runs every check once; one that does not answer is a problem of its own. */
export function runChecks(checks: readonly ReadinessCheck[]): Promise<CheckReport[]> {
  return Promise.all(
    checks.map(async ({ name, run, notes }) => {
      const problems = await run().catch(() => [`${name} does not answer`]);
      const found = (await notes?.().catch(() => [])) ?? [];
      return { name, ok: problems.length === 0, problems, notes: found };
    }),
  );
}

const CheckResult = Type.Object({
  name: Type.String({ description: 'Part that was checked' }),
  ok: Type.Boolean(),
  problems: Type.Array(Type.String()),
  notes: Type.Array(Type.String(), { description: 'Worth knowing, although money can be taken' }),
});

const Readiness = Type.Object(
  {
    status: Type.Union([Type.Literal('ready'), Type.Literal('not_ready'), Type.Literal('draining')]),
    checks: Type.Array(CheckResult),
  },
  { $id: 'Readiness', description: 'What the gateway depends on' },
);

/** Checks run for everybody at most this often, so that probing cannot become a load on the node. */
const CACHE_MS = 1_000;

/** Answered while the gateway is being stopped, too. */
export const HEALTH_PATHS: readonly string[] = ['/healthz', '/readyz'];

/** `/healthz` says that the process runs, `/readyz` that it can take money. */
export function registerHealth(
  app: FastifyInstance,
  options: { checks: readonly ReadinessCheck[]; isDraining: () => boolean },
): void {
  let cached: { atMs: number; result: Promise<CheckReport[]> } | undefined;

  function readReports(): Promise<CheckReport[]> {
    if (!cached || performance.now() - cached.atMs > CACHE_MS) {
      cached = { atMs: performance.now(), result: runChecks(options.checks) };
    }
    return cached.result;
  }

  app.get(
    '/healthz',
    {
      schema: {
        tags: ['operation'],
        operationId: 'getHealth',
        summary: 'Whether the process runs',
        response: { 200: Type.Object({ status: Type.Literal('ok') }) },
      },
    },
    () => ({ status: 'ok' as const }),
  );

  app.get(
    '/readyz',
    {
      schema: {
        tags: ['operation'],
        operationId: 'getReadiness',
        summary: 'Whether the gateway can take payments: database, migrations, chains, gas',
        response: { 200: Readiness, 503: Readiness },
      },
    },
    async (_request, reply) => {
      const checks = await readReports();
      const ready = checks.every(check => check.ok);
      const status = options.isDraining() ? 'draining' : ready ? 'ready' : 'not_ready';
      return reply
        .code(status === 'ready' ? 200 : 503)
        .header('cache-control', 'no-store')
        .send({ status, checks });
    },
  );
}
