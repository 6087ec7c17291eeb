import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createOutbound } from '../../../src/http/outbound.ts';
import { isPublicAddress } from '../../../src/http/outbound-address.ts';

describe('addresses', () => {
  it.each([
    '127.0.0.1',
    '10.1.2.3',
    '172.16.0.1',
    '192.168.1.1',
    '169.254.169.254',
    '100.64.0.1',
    '0.0.0.0',
    '224.0.0.1',
    '255.255.255.255',
    '192.0.2.1',
    '198.18.0.1',
    '240.0.0.1',
    '168.63.129.16',
    '::1',
    '::',
    '::ffff:127.0.0.1',
    '::ffff:10.0.0.1',
    '64:ff9b::7f00:1',
    '2002:7f00:1::',
    '2001:0:4136:e378:8000:63bf:3fff:fdd2',
    'fe80::1',
    'fc00::1',
    'fd00:ec2::254',
    'ff02::1',
    'fec0::1',
    '100::1',
    '2001:db8::1',
    'nothing',
  ])('%s is not public', address => {
    expect(isPublicAddress(address)).toBe(false);
  });

  it.each(['8.8.8.8', '1.1.1.1', '2606:4700::1111', '::ffff:8.8.8.8'])('%s is public', address => {
    expect(isPublicAddress(address)).toBe(true);
  });
});

const post = (url: string) => ({ url, headers: {}, body: '{}', timeoutMs: 2_000 });

describe('what may be called', () => {
  const names: Record<string, string[]> = {
    'public.example': ['8.8.8.8'],
    'private.example': ['10.0.0.7'],
    'both.example': ['8.8.8.8', '127.0.0.1'],
  };
  const resolve = async (hostname: string) => {
    const addresses = names[hostname];
    if (!addresses) throw new Error('ENOTFOUND');
    return addresses.map(address => ({ address, family: 4 }));
  };
  const outbound = createOutbound({ allowLoopback: false, resolve });
  afterAll(() => outbound.close());

  it.each([
    ['http://public.example/', 'not_https'],
    ['ftp://public.example/', 'not_https'],
    ['https://127.0.0.1/', 'forbidden_address'],
    ['https://2130706433/', 'forbidden_address'],
    ['https://0x7f.1/', 'forbidden_address'],
    ['https://[::1]/', 'forbidden_address'],
    ['https://[::ffff:169.254.169.254]/', 'forbidden_address'],
    ['https://169.254.169.254/latest/meta-data', 'forbidden_address'],
    ['https://user@public.example/', 'credentials'],
    ['https://public.example/#x', 'fragment'],
    ['https://private.example/', 'forbidden_address'],
    ['https://both.example/', 'forbidden_address'],
    ['https://missing.example/', 'unresolvable'],
    ['nonsense', 'malformed'],
    [`https://public.example/${'x'.repeat(2048)}`, 'too_long'],
  ])('%s is refused as %s', async (url, reason) => {
    expect(await outbound.check(url)).toMatchObject({ reason });
  });

  it('takes https on a public address', async () => {
    expect(await outbound.check('https://public.example/hooks?a=1')).toBeUndefined();
    expect(await outbound.check('https://8.8.8.8/hooks')).toBeUndefined();
  });

  it('checks again when it connects, so a name that moved inside is not followed', async () => {
    names['moving.example'] = ['8.8.8.8'];
    expect(await outbound.check('https://moving.example/')).toBeUndefined();
    names['moving.example'] = ['127.0.0.1'];
    expect(await outbound.post(post('https://moving.example/'))).toEqual({
      kind: 'failed',
      error: 'forbidden_address',
    });
    expect(await outbound.post(post('https://127.0.0.1/'))).toEqual({
      kind: 'failed',
      error: 'forbidden_address',
    });
  });
});

describe('a call', () => {
  let server: Server;
  let origin: string;
  const asked: string[] = [];
  const outbound = createOutbound({ allowLoopback: true });

  beforeAll(async () => {
    server = createServer((request, response) => {
      asked.push(request.url ?? '');
      if (request.url === '/redirect') response.writeHead(302, { location: '/elsewhere' }).end();
      else if (request.url === '/large') response.writeHead(200).end('x'.repeat(1_000_000));
      else if (request.url === '/hang') request.resume();
      else if (request.url === '/drip') response.writeHead(200).write('x');
      else response.writeHead(200).end('fine');
    });
    await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
    origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  });

  afterAll(async () => {
    await outbound.close();
    server.closeAllConnections();
    await new Promise(resolve => server.close(resolve));
  });

  it('follows no redirect', async () => {
    expect(await outbound.post(post(`${origin}/redirect`))).toMatchObject({ kind: 'answered', status: 302 });
    expect(asked).not.toContain('/elsewhere');
  });

  it('reads a bounded answer', async () => {
    expect(await outbound.post(post(`${origin}/fine`))).toEqual({
      kind: 'answered',
      status: 200,
      body: 'fine',
    });
    expect(await outbound.post(post(`${origin}/large`))).toEqual({ kind: 'answered', status: 200, body: '' });
  });

  it('ends at its deadline, before and after the status', async () => {
    expect(await outbound.post({ ...post(`${origin}/hang`), timeoutMs: 100 })).toEqual({
      kind: 'failed',
      error: 'timeout',
    });
    expect(await outbound.post({ ...post(`${origin}/drip`), timeoutMs: 100 })).toMatchObject({ status: 200 });
  });

  it('says that nobody listens', async () => {
    expect(await outbound.post(post('http://127.0.0.1:1/'))).toEqual({ kind: 'failed', error: 'connection' });
  });
});

it('that hangs holds up no other call to the same host', async () => {
  const server = createServer((request, response) => {
    if (request.url !== '/hang') response.writeHead(200).end();
  });
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
  const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const outbound = createOutbound({ allowLoopback: true });
  const hanging = Array.from({ length: 100 }, () => outbound.post(post(`${origin}/hang`)));
  expect(await outbound.post(post(`${origin}/good`))).toMatchObject({ kind: 'answered', status: 200 });
  expect((await Promise.all(hanging)).every(each => each.kind === 'failed' && each.error === 'timeout')).toBe(
    true,
  );
  await outbound.close();
  server.closeAllConnections();
  await new Promise(resolve => server.close(resolve));
});
