/** Exit codes of every command: 0 good, 1 something is wrong with the data, 2 the call is wrong or it cannot be told. */
export const EXIT = { good: 0, problem: 1, usage: 2, unknown: 2 } as const;

type Cell = string | number | bigint | null;

/**
 * Prints one result: a readable text on a terminal, JSON where another program reads it or `--json` asks for
 * it. Integers beyond JSON's are decimal strings.
 */
export function print(args: readonly string[], result: object, text: string): void {
  const json = args.includes('--json') || !process.stdout.isTTY;
  process.stdout.write(`${json ? toJson(result) : text}\n`);
}

function toJson(value: unknown): string {
  return JSON.stringify(value, (_, part: unknown) => (typeof part === 'bigint' ? part.toString() : part));
}

/** Aligns rows in columns under their names. */
export function table(names: readonly string[], rows: readonly (readonly Cell[])[]): string {
  const lines = [names, ...rows.map(row => row.map(cell => String(cell ?? '')))];
  const widths = names.map((_, column) => Math.max(...lines.map(line => (line[column] ?? '').length)));
  return lines
    .map(line =>
      line
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}
