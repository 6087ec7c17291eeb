import type { QueryResult, QueryResultRow } from 'pg';

/**
 * What a store needs of PostgreSQL: a pool or a client inside a transaction. Always the first
 * argument, so that the caller decides which transaction a statement belongs to.
 */
export interface Queryable {
  query<Row extends QueryResultRow>(statement: Statement): Promise<QueryResult<Row>>;
}

/** A named (prepared once per connection) statement. `int8` comes back as a decimal string. */
export interface Statement {
  name: string;
  text: string;
  values: unknown[];
}

/**
 * Name of the schema that holds the ledger and the payments of one group of accounts. A parameter and
 * not a constant, because growth means more cells (docs/scale.md).
 */
export type CellName = string & { readonly __brand: 'CellName' };

const CELL_NAME = /^[a-z][a-z0-9_]{0,30}$/;

/** Checks a cell name once, so that it can be written into SQL as an identifier. */
export function cellName(name: string): CellName {
  if (!CELL_NAME.test(name)) throw new Error(`not a cell name: ${name}`);
  return name as CellName;
}

export const DEFAULT_CELL = cellName('cell_0');
