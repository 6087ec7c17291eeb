import { execFile } from 'node:child_process';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { CLIENTS_FOLDER } from '../../scripts/clients.ts';

const CLI = path.join(CLIENTS_FOLDER, 'node_modules/mppx/dist/bin.js');

const TIMEOUT_MS = 60_000;

export interface CommandResult {
  code: number;
  stdout: string;
  stderr: string;
}

/** Runs the published command line of mppx, which gets nothing of this environment but where programs are. */
export function runMppx(args: readonly string[], env: Record<string, string> = {}): Promise<CommandResult> {
  return new Promise(resolve => {
    execFile(
      process.execPath,
      [CLI, ...args],
      {
        // Away from any configuration of its own, and without a look for newer versions.
        cwd: tmpdir(),
        env: {
          PATH: process.env['PATH'],
          HOME: path.join(tmpdir(), 'no-home'),
          NO_UPDATE_NOTIFIER: '1',
          NO_COLOR: '1',
          ...env,
        },
        timeout: TIMEOUT_MS,
      },
      (error, stdout, stderr) =>
        resolve({ code: error ? (typeof error.code === 'number' ? error.code : -1) : 0, stdout, stderr }),
    );
  });
}

/** One answer as the command line prints it with `-i`. */
export interface CliAnswer {
  status: number;
  headers: Headers;
  body: string;
}

/**
 * What the command line was answered, first to last: with `-i` it prints status, headers and, of the last, the body.
 * @param stdout of a call with `-i`
 */
export function readAnswers(stdout: string): CliAnswer[] {
  return stdout
    .split(/^(?=HTTP\/1\.1 \d{3} )/m)
    .filter(part => part.startsWith('HTTP/1.1 '))
    .map(part => {
      const end = part.indexOf('\n\n');
      const [statusLine = '', ...lines] = part.slice(0, end).split('\n');
      const headers = new Headers();
      for (const line of lines) {
        const colon = line.indexOf(':');
        headers.append(line.slice(0, colon), line.slice(colon + 1).trim());
      }
      return { status: Number(statusLine.split(' ')[1]), headers, body: part.slice(end + 2).trim() };
    });
}
