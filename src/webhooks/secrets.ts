/** What an endpoint's sealed secret belongs to (see `lib/sealed.ts`): moved to another row it opens nothing. */
export function secretContext(endpointId: string): string {
  return `webhook secret ${endpointId}`;
}
