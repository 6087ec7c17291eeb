import { stat } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { postgresUser, probePostgres } from '../../src/local/postgres-user.ts';
import { endWith, nativeTree, openFolder, startInChild } from '../support/local-processes.ts';

/** As root somebody else, otherwise ourselves. */
const user = await postgresUser('');

/** A checkout in root's own home cannot be read by anybody else, so there is no other user of it. */
const reachable = (await probePostgres(nativeTree(), '/', user)) !== undefined;

let root: Awaited<ReturnType<typeof openFolder>>;

beforeAll(async () => {
  root = await openFolder();
});

afterAll(() => root.remove());

describe('an ordinary user', () => {
  it.runIf(reachable)('starts the local parts and takes over what kill -9 left', async () => {
    const dataDir = path.join(root.folder, 'data');
    const first = await startInChild(dataDir, ['postgres', 'chain'], user);
    expect(first.started).toMatchObject({ fresh: true, restored: false });
    expect(first.started.uid).not.toBe(0);
    expect((await stat(path.join(dataDir, 'postgres', 'cluster'))).uid).toBe(first.started.uid);
    await endWith(first.child, 'SIGKILL');
    const second = await startInChild(dataDir, ['postgres', 'chain'], user);
    // Ports are kept when they are still free, which other tests may have changed.
    expect(second.started).toMatchObject({ uid: first.started.uid, fresh: false, restored: true });
    await endWith(second.child, 'SIGTERM');
  });
});
