import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { projectHas, readDockerfile, readManifest, readProjectFile } from './project.ts';

const instructions = readDockerfile();
const lastStage = instructions.slice(instructions.findLastIndex(({ keyword }) => keyword === 'FROM'));

function valuesOf(keyword: string, stage = lastStage): string[] {
  return stage.filter(instruction => instruction.keyword === keyword).map(({ value }) => value);
}

/** Runs the image's health check as the engine would. @returns its exit code. */
async function checkHealth(port: number): Promise<number> {
  const [, command = '[]'] = /CMD (\[.*\])$/.exec(valuesOf('HEALTHCHECK')[0] ?? '') ?? [];
  const [program, ...args] = JSON.parse(command) as string[];
  expect(program).toBe('node');
  const child = spawn(process.execPath, args, { env: { PORT: String(port) }, stdio: 'ignore' });
  const [code] = (await once(child, 'exit')) as [number];
  return code;
}

describe('the image', () => {
  it('is built from files that are there and not left out', () => {
    const allowed = readProjectFile('.dockerignore')
      .split('\n')
      .filter(line => line.startsWith('!'))
      .map(line => line.slice(1));
    const copied = valuesOf('COPY', instructions)
      .filter(value => !value.startsWith('--from='))
      .flatMap(value => value.split(' ').slice(0, -1));
    expect(new Set(copied)).toEqual(new Set(allowed));
    expect(copied.filter(file => !projectHas(file))).toEqual([]);
  });

  it('holds what the command reads at run time', () => {
    const targets = valuesOf('COPY').flatMap(value => {
      const parts = value.split(' ').filter(part => !part.startsWith('--from='));
      const target = parts.at(-1) ?? '';
      return parts
        .slice(0, -1)
        .map(source => (target === './' ? path.basename(source) : path.normalize(target)));
    });
    expect(targets).toEqual(expect.arrayContaining(['node_modules', 'dist', 'migrations', 'package.json']));
  });

  it('serves as an ordinary user, with production packages only', () => {
    expect(valuesOf('USER')).toEqual(['node']);
    const command = JSON.parse(valuesOf('CMD')[0] ?? '') as string[];
    expect(command).toEqual(['node', readManifest().bin?.['topup-gateway'], 'serve']);
    const [packages] = valuesOf('COPY').filter(value => value.includes('node_modules'));
    const stage = /^--from=(\w+) /.exec(packages ?? '')?.[1];
    const start = instructions.findIndex(({ value }) => value.endsWith(` AS ${stage}`));
    const install = instructions.slice(start).find(({ keyword }) => keyword === 'RUN');
    expect(install?.value).toContain('npm ci --omit=dev --omit=optional');
  });

  it('is healthy while the server answers, and not otherwise', async () => {
    let status = 200;
    const asked: (string | undefined)[] = [];
    const server = createServer((request, response) => {
      asked.push(request.url);
      response.writeHead(status).end();
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    expect(await checkHealth(port)).toBe(0);
    status = 503;
    expect(await checkHealth(port)).toBe(1);
    expect(asked).toEqual(['/healthz', '/healthz']);
    server.close();
    await once(server, 'close');
    expect(await checkHealth(port)).toBe(1);
  });
});
