import type { QueryResult, QueryResultRow } from 'pg';

export { type CellName, cellName, DEFAULT_CELL } from '../lib/cell-name.ts';

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
