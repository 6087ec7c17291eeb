import path from 'node:path';
import { inject } from 'vitest';

/** The command-line tool as the tests start it: every command but `dev`. */
export const cliProgram = (): string => path.join(inject('programs'), 'cli.mjs');
