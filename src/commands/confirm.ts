import { createInterface } from 'node:readline/promises';

/** Where a question is answered. */
export interface Dialogue {
  input: NodeJS.ReadableStream & { isTTY?: boolean };
  output: NodeJS.WritableStream;
}

const TERMINAL: Dialogue = { input: process.stdin, output: process.stderr };

/** Asks a person; where there is none, or they leave, nothing is agreed to. */
export async function confirm(question: string, { input, output } = TERMINAL): Promise<boolean> {
  if (!input.isTTY) {
    output.write('nobody is there to confirm: use --yes to pay without asking\n');
    return false;
  }
  const dialogue = createInterface({ input, output });
  try {
    // A question that is left by Ctrl-C or Ctrl-D is rejected by some versions of Node and never answered by others.
    const left = new Promise<string>(resolve => {
      dialogue.once('close', () => resolve(''));
    });
    const answer = await Promise.race([dialogue.question(question).catch(() => ''), left]);
    return /^y(es)?$/i.test(answer.trim());
  } finally {
    dialogue.close();
  }
}
