/**
 * States an invariant. A failure is a bug in this program, never bad input: it surfaces as the
 * error code `internal` and its text stays in the log.
 */
export function assert(condition: unknown, message: string): asserts condition {
  if (!condition) throw new Error(`invariant broken: ${message}`);
}

/** Marks code that the type system proves unreachable. */
export function assertNever(value: never): never {
  throw new Error(`unexpected value: ${JSON.stringify(value)}`);
}
