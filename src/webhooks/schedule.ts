import type { EndpointKind } from './endpoints.ts';

/** When each kind of endpoint is tried: seconds to wait before each attempt, from the end of the last one. */
export type RetrySchedules = Readonly<Record<EndpointKind, readonly number[]>>;

/**
 * How long to wait before an attempt, in milliseconds: the first from the moment that the event is fanned out.
 * @param n number of the attempt, from 1
 * @returns undefined when there is no such attempt any more
 */
export function waitBefore(n: number, schedule: readonly number[]): number | undefined {
  const seconds = schedule[n - 1];
  return seconds === undefined ? undefined : seconds * 1000;
}
