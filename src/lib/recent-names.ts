/**
 * Remembers the last names that it was told, so many at most.
 * @returns tells it a name, and says whether it knew that already
 */
export function createRecentNames(maxNames: number): (name: string) => boolean {
  const names = new Set<string>();
  return name => {
    const isKnown = names.delete(name);
    names.add(name);
    const [oldest] = names.size > maxNames ? names : [];
    if (oldest !== undefined) names.delete(oldest);
    return isKnown;
  };
}
