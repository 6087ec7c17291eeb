import { once } from 'node:events';
import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { createBreaker } from '../../../src/facilitators/breaker.ts';
import {
  callFacilitator,
  FacilitatorCallError,
  isBeforeTheRequest,
} from '../../../src/facilitators/facilitator-http.ts';

const servers: Server[] = [];

afterEach(() => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    server.close();
  }
});

async function serve(listener: RequestListener): Promise<string> {
  const server = createServer(listener);
  servers.push(server);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** The failure of a call, as far as a caller may build on it. */
async function failureOf(call: Promise<unknown>): Promise<{ nothingSent: boolean; message: string }> {
  const error = await call.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  expect(error).toBeInstanceOf(FacilitatorCallError);
  const { nothingSent, message } = error as FacilitatorCallError;
  return { nothingSent, message };
}

const PAYMENT = { paymentPayload: { signature: '0xsecret' } };

describe('a call to a facilitator', () => {
  it('sends the payment once, with its headers, and reads the answer', async () => {
    const seen: unknown[] = [];
    const url = await serve((request, response) => {
      seen.push([request.method, request.url, request.headers['x-key'], request.headers['content-type']]);
      response.end('{"success":true}');
    });
    const answer = await callFacilitator({ url, headers: { 'x-key': 'abc' } }, 'settle', 1_000, PAYMENT);
    expect(answer).toEqual({ status: 200, body: { success: true } });
    expect(seen).toEqual([['POST', '/settle', 'abc', 'application/json']]);
  });

  it('follows no redirect, so that a payment is never carried elsewhere', async () => {
    let elsewhere = 0;
    const other = await serve((_, response) => {
      elsewhere += 1;
      response.end('{"success":true}');
    });
    const url = await serve((_, response) => response.writeHead(307, { location: `${other}/settle` }).end());
    const call = callFacilitator({ url, headers: {} }, 'settle', 1_000, PAYMENT);
    expect(await failureOf(call)).toMatchObject({ nothingSent: false });
    expect(elsewhere).toBe(0);
  });

  it('gives up on an answer that never ends, by size', async () => {
    const url = await serve((_, response) => {
      const write = (): void => {
        if (response.write(' '.repeat(65_536))) setImmediate(write);
        else response.once('drain', write);
      };
      write();
    });
    const call = callFacilitator({ url, headers: {} }, 'verify', 10_000, PAYMENT);
    expect((await failureOf(call)).message).toContain('too long');
  });

  it('gives up on an answer that never ends, by time, and does not call that unsent', async () => {
    const url = await serve((_, response) => {
      response.write('{"success":');
    });
    const call = callFacilitator({ url, headers: {} }, 'settle', 100, PAYMENT);
    expect(await failureOf(call)).toMatchObject({ nothingSent: false });
  });

  it('that breaks after the request was read may have been acted on', async () => {
    const url = await serve((request, response) => {
      request.resume().on('end', () => response.destroy());
    });
    const call = callFacilitator({ url, headers: {} }, 'settle', 1_000, PAYMENT);
    expect(await failureOf(call)).toMatchObject({ nothingSent: false });
  });

  it('that is refused has sent nothing, and its message holds no address', async () => {
    const call = callFacilitator(
      { url: 'http://127.0.0.1:2/secret-path', headers: {} },
      'settle',
      1_000,
      PAYMENT,
    );
    expect(await failureOf(call)).toEqual({ nothingSent: true, message: 'settle: ECONNREFUSED' });
  });

  it('whose headers cannot be made has sent nothing, and repeats no secret', async () => {
    const createAuthHeaders = () => Promise.reject(new Error('bad key very-secret'));
    const address = { url: 'http://127.0.0.1:2', headers: {}, createAuthHeaders };
    const failure = await failureOf(callFacilitator(address, 'verify', 1_000, PAYMENT));
    expect(failure.nothingSent).toBe(true);
    expect(failure.message).not.toContain('very-secret');
  });
});

describe('a failure', () => {
  /** As the system's errors look. */
  const failure = (code: string, syscall?: string) =>
    Object.assign(new Error(`${syscall ?? ''} ${code}`), { code, ...(syscall ? { syscall } : {}) });

  it.each([
    ['ECONNREFUSED', 'connect'],
    ['EHOSTUNREACH', 'connect'],
    ['ENETUNREACH', 'connect'],
    ['ENOTFOUND', 'getaddrinfo'],
    ['EAI_AGAIN', 'getaddrinfo'],
    ['UND_ERR_CONNECT_TIMEOUT', undefined],
    ['CERT_HAS_EXPIRED', undefined],
    ['DEPTH_ZERO_SELF_SIGNED_CERT', undefined],
  ])('%s of %s proves that nothing was sent', (code, syscall) => {
    expect(isBeforeTheRequest(failure(code, syscall))).toBe(true);
  });

  it.each([
    ['EHOSTUNREACH', 'read'],
    ['EHOSTUNREACH', 'write'],
    ['ENETUNREACH', 'write'],
    ['ENETUNREACH', undefined],
    ['ECONNRESET', 'read'],
    ['ETIMEDOUT', 'connect'],
    ['UND_ERR_SOCKET', undefined],
    ['UND_ERR_HEADERS_TIMEOUT', undefined],
  ])('%s of %s proves nothing: the request may be with the facilitator', (code, syscall) => {
    expect(isBeforeTheRequest(failure(code, syscall))).toBe(false);
  });

  it('of a name that does not exist, and of each of its addresses, has sent nothing', async () => {
    const call = callFacilitator(
      { url: 'http://facilitator.invalid', headers: {} },
      'settle',
      5_000,
      PAYMENT,
    );
    expect((await failureOf(call)).nothingSent).toBe(true);
    const everywhere = callFacilitator({ url: 'http://localhost:2', headers: {} }, 'settle', 5_000, PAYMENT);
    expect((await failureOf(everywhere)).nothingSent).toBe(true);
  });
});

describe('a breaker', () => {
  it('opens after five failures in a row, and lets one call try after a while', async () => {
    let nowMs = 0;
    const breaker = createBreaker({ nowMs: () => nowMs });
    const fail = () => breaker.run(() => Promise.reject(new FacilitatorCallError('down', false)));
    for (let call = 0; call < 4; call += 1) await failureOf(fail());
    await breaker.run(() => Promise.resolve('a success starts the count anew'));
    for (let call = 0; call < 5; call += 1) {
      expect(breaker.isOpen()).toBe(false);
      await failureOf(fail());
    }
    expect(breaker.isOpen()).toBe(true);
    let called = 0;
    const refused = await failureOf(breaker.run(() => Promise.resolve((called += 1))));
    expect([refused.nothingSent, called]).toEqual([true, 0]);
    nowMs += 10_001;
    expect(breaker.isOpen()).toBe(false);
  });
});
