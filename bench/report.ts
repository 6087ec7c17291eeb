/** One figure against one baseline; `ratio` above 1 means that we are faster. */
export interface BenchLine {
  name: string;
  value: number;
  unit: string;
  /** The baseline's name. */
  baseline: string;
  ratio: number;
}

/** Writes a result: standard output carries these lines and nothing else. */
export function report(line: BenchLine): void {
  const rounded = { ...line, value: Math.round(line.value), ratio: Math.round(line.ratio * 100) / 100 };
  process.stdout.write(`${JSON.stringify(rounded)}\n`);
}

/** Tells a person what is going on. */
export function progress(text: string): void {
  process.stderr.write(`${text}\n`);
}

/** The middle value: one disturbed round changes nothing. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  const upper = sorted[middle];
  if (upper === undefined) throw new Error('there is no median of nothing');
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? upper) + upper) / 2;
}
