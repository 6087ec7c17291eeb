import { lookup } from 'node:dns/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createNameResolver, shareLookups } from '../../../src/http/names.ts';
import { createOutbound } from '../../../src/http/outbound.ts';
import { DeadlineError } from '../../../src/lib/deadline.ts';
import { startNameServer } from '../../support/name-server.ts';

const SIX = '2606:4700:0:0:0:0:0:1111';

let names: Awaited<ReturnType<typeof startNameServer>>;

beforeAll(async () => {
  names = await startNameServer({
    'both.example': { 4: ['8.8.8.8', '8.8.4.4'], 6: [SIX] },
    'four.example': { 4: ['8.8.8.8'] },
    'six.example': { 6: [SIX] },
    'empty.example': {},
    'private.example': { 4: ['8.8.8.8'], 6: ['fd00:0:0:0:0:0:0:1'] },
    ...Object.fromEntries(Array.from({ length: 64 }, (_, n) => [`dead-${n}.example`, 'silence' as const])),
  });
});

afterAll(() => names?.close());

const resolver = (timeoutMs = 5_000) => createNameResolver({ timeoutMs, servers: [names.server] });

describe('a name', () => {
  it('has its addresses of both families', async () => {
    expect(await resolver()('both.example')).toEqual([
      { address: '8.8.8.8', family: 4 },
      { address: '8.8.4.4', family: 4 },
      { address: '2606:4700::1111', family: 6 },
    ]);
    expect(await resolver()('four.example')).toEqual([{ address: '8.8.8.8', family: 4 }]);
    expect(await resolver()('six.example')).toEqual([{ address: '2606:4700::1111', family: 6 }]);
  });

  it.each(['empty.example', 'missing.example'])('may have none: %s', async name => {
    await expect(resolver()(name)).rejects.toThrow(/no address/);
  });

  it('that nobody answers for is given up', async () => {
    await expect(resolver(200)('dead-0.example')).rejects.toThrow(DeadlineError);
  });

  it('of a dead zone holds up no other name, and none of the rest of the process', async () => {
    let answered = 0;
    const count = () => {
      answered += 1;
    };
    const dead = Array.from({ length: 64 }, (_, n) =>
      resolver(3_000)(`dead-${n}.example`).then(count, count),
    );
    expect(await resolver()('four.example')).toHaveLength(1);
    // The system's resolver has four threads.
    expect((await lookup('localhost', { all: true })).length).toBeGreaterThan(0);
    expect(answered).toBe(0);
    await Promise.all(dead);
  }, 30_000);

  it('is asked for once by all who need it at the same moment', async () => {
    const shared = shareLookups(resolver());
    const before = names.asked.length;
    const answers = await Promise.all(Array.from({ length: 8 }, () => shared('four.example')));
    expect(answers.every(each => each[0]?.address === '8.8.8.8')).toBe(true);
    expect(names.asked.slice(before)).toEqual(['four.example', 'four.example']);
    await shared('four.example');
    expect(names.asked.length - before).toBe(4);
  });
});

describe('an outgoing call', () => {
  const post = { headers: {}, body: '{}', timeoutMs: 20_000 };

  it('is checked by all addresses of its name', async () => {
    const outbound = createOutbound({ allowLoopback: false, resolve: resolver() });
    expect(await outbound.check('https://both.example/')).toBeUndefined();
    expect(await outbound.check('https://private.example/')).toMatchObject({ reason: 'forbidden_address' });
    expect(await outbound.check('https://missing.example/')).toMatchObject({ reason: 'unresolvable' });
    await outbound.close();
  });

  it('to a name that nobody answers for has timed out', async () => {
    const outbound = createOutbound({ allowLoopback: false, resolve: resolver(100) });
    const result = await outbound.post({ ...post, url: 'https://dead-1.example/' });
    expect(result).toEqual({ kind: 'failed', error: 'timeout' });
    await outbound.close();
  });

  it('that is not taken has timed out', async () => {
    const outbound = createOutbound({
      allowLoopback: false,
      connectTimeoutMs: 100,
      resolve: () => new Promise(() => undefined),
    });
    const result = await outbound.post({ ...post, url: 'https://public.example/' });
    expect(result).toEqual({ kind: 'failed', error: 'timeout' });
    await outbound.close();
  });
});
