import { readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { addMissingPlatforms, type LockFile } from '../../../scripts/lock-platforms.ts';

function sampleLock(): LockFile {
  return {
    packages: {
      '': {},
      'node_modules/tool': {
        version: '1.2.0',
        dev: true,
        optionalDependencies: {
          '@tool/binding-linux-x64-gnu': '1.2.0',
          '@tool/binding-linux-arm64-musl': '1.2.0',
          '@tool/windows-amd64': '^1.2.0',
        },
      },
      'node_modules/@tool/binding-linux-x64-gnu': { version: '1.2.0', optional: true, os: ['linux'] },
      'node_modules/other': { version: '2.0.0' },
      'node_modules/other/node_modules/tool': {
        version: '0.9.0',
        optionalDependencies: { '@tool/binding-linux-x64-gnu': '0.9.0' },
      },
    },
  };
}

describe('lock file for every platform', () => {
  it.each(['package-lock.json', 'test/clients/package-lock.json'])('is %s as committed', file => {
    const text = readFileSync(path.resolve(import.meta.dirname, '../../..', file), 'utf8');
    expect(addMissingPlatforms(JSON.parse(text) as LockFile)).toEqual([]);
  });

  it('gets what is missing, with the platform that the name tells', () => {
    const lock = sampleLock();
    expect(addMissingPlatforms(lock)).toEqual([
      'node_modules/@tool/binding-linux-arm64-musl',
      'node_modules/@tool/windows-amd64',
      'node_modules/other/node_modules/tool/node_modules/@tool/binding-linux-x64-gnu',
    ]);
    expect(lock.packages).toMatchObject({
      'node_modules/@tool/binding-linux-arm64-musl': {
        version: '1.2.0',
        os: ['linux'],
        cpu: ['arm64'],
        libc: ['musl'],
        dev: true,
        optional: true,
      },
      'node_modules/@tool/windows-amd64': { version: '1.2.0', os: ['win32'], cpu: ['x64'] },
      'node_modules/other/node_modules/tool/node_modules/@tool/binding-linux-x64-gnu': {
        version: '0.9.0',
        os: ['linux'],
        cpu: ['x64'],
        libc: ['glibc'],
      },
    });
    expect(Object.keys(lock.packages)[0]).toBe('');
  });

  it('misses nothing the second time', () => {
    const lock = sampleLock();
    addMissingPlatforms(lock);
    const once = JSON.stringify(lock);
    expect(addMissingPlatforms(lock)).toEqual([]);
    expect(JSON.stringify(lock)).toBe(once);
  });

  it('says so when a name does not tell the platform', () => {
    const lock: LockFile = {
      packages: { 'node_modules/tool': { optionalDependencies: { mystery: '1.0.0' } } },
    };
    expect(() => addMissingPlatforms(lock)).toThrow('mystery does not tell its platform');
  });
});
