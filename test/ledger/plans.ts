import { Client } from 'pg';
import { expect } from 'vitest';

interface PlanNode {
  'Node Type': string;
  'Relation Name'?: string;
  'Index Cond'?: string;
  'Recheck Cond'?: string;
  Plans?: PlanNode[];
}

export interface PlanWatch {
  /** The connection whose plans are read. */
  client: Client;
  /**
   * Runs the work and returns every access to a table that did not go through an index on the account, once each.
   * The one row of the window of ids is left out.
   */
  accessesWithoutAccount(work: () => Promise<unknown>): Promise<string[]>;
  close(): Promise<void>;
}

/** Reads the plan of every statement, also inside functions, as it was really run. */
export async function watchPlans(databaseUrl: string): Promise<PlanWatch> {
  const client = new Client({ connectionString: databaseUrl });
  await client.connect();
  await client.query("LOAD 'auto_explain'");
  await client.query(`SET auto_explain.log_min_duration = 0; SET auto_explain.log_nested_statements = on;
    SET auto_explain.log_format = json; SET auto_explain.log_level = notice`);
  let plans: PlanNode[] = [];
  client.on('notice', notice => {
    const text = notice.message ?? '';
    const start = text.indexOf('{');
    if (start > 0) plans.push((JSON.parse(text.slice(start)) as { Plan: PlanNode }).Plan);
  });
  return {
    client,
    async accessesWithoutAccount(work) {
      plans = [];
      await work();
      const all = plans.flatMap(scans);
      expect(all.length).toBeGreaterThan(0);
      const found = all
        .filter(node => node['Relation Name'] !== 'transfer_window')
        .filter(node => !/account_id/.test(node['Index Cond'] ?? node['Recheck Cond'] ?? ''))
        .map(describeAccess);
      return [...new Set(found)].toSorted();
    },
    close: () => client.end(),
  };
}

function scans(node: PlanNode): PlanNode[] {
  const own = node['Node Type'].includes('Scan') && node['Relation Name'] ? [node] : [];
  return [...own, ...(node.Plans ?? []).flatMap(scans)];
}

/** An index is told by its first column; which way it is walked does not matter. */
function describeAccess(node: PlanNode): string {
  const by = /\w+/.exec(node['Index Cond'] ?? node['Recheck Cond'] ?? '');
  return by ? `${node['Relation Name']} by ${by[0]}` : `${node['Node Type']} on ${node['Relation Name']}`;
}
