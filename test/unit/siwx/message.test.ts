import * as fc from 'fast-check';
import { createSiweMessage } from 'viem/siwe';
import { describe, expect, it } from 'vitest';
import { buildSiwxMessage, parseSiwxMessage, type SiwxMessage } from '../../../src/customers/siwx-message.ts';
import { account, iso, messageOf, NOW_MS } from './signed-proof.ts';

const parsed: SiwxMessage = {
  account: 'Ethereum',
  domain: 'gw.example.com:8443',
  address: account.address,
  statement: 'Sign in to Venice AI',
  uri: 'https://gw.example.com:8443/api/v1/x402/balance/0x?a=b',
  version: '1',
  chainId: '8453',
  nonce: '92d3fb13f6124ecc',
  issuedAt: iso(),
  expirationTime: iso(300_000),
  notBefore: undefined,
  requestId: undefined,
  resources: undefined,
};

describe('reading', () => {
  it('gives every line its place', () => {
    expect(parseSiwxMessage(messageOf())).toEqual(parsed);
  });

  it('reads what another implementation of EIP-4361 writes', () => {
    const full = createSiweMessage({
      scheme: 'https',
      domain: 'gw.example.com',
      address: account.address,
      statement: 'Hello',
      uri: 'https://gw.example.com/x',
      version: '1',
      chainId: 8453,
      nonce: 'abcdefgh12345678',
      issuedAt: new Date(NOW_MS),
      expirationTime: new Date(NOW_MS + 1),
      notBefore: new Date(NOW_MS - 1),
      requestId: 'request-1',
      resources: ['https://a.example/', 'https://b.example/'],
    });
    const message = parseSiwxMessage(full);
    expect(message).toMatchObject({
      domain: 'https://gw.example.com',
      statement: 'Hello',
      notBefore: iso(-1),
      requestId: 'request-1',
      resources: ['https://a.example/', 'https://b.example/'],
    });
    expect(buildSiwxMessage(message!)).toBe(full);
  });

  it('accepts a message without statement, with one blank line or two', () => {
    const two = messageOf({ statement: undefined });
    expect(parseSiwxMessage(two)).toEqual({ ...parsed, statement: undefined });
    expect(parseSiwxMessage(two.replace('\n\n\n', '\n\n'))).toEqual({ ...parsed, statement: undefined });
  });

  it('reads the Solana form', () => {
    expect(parseSiwxMessage(messageOf({ account: 'Solana' }))).toMatchObject({ account: 'Solana' });
  });

  it('leaves absent lines to the caller', () => {
    const message = parseSiwxMessage(messageOf({ nonce: undefined, chainId: undefined }));
    expect(message).toEqual({ ...parsed, nonce: undefined, chainId: undefined });
  });

  it.each([
    ['nothing', ''],
    ['another opening', messageOf().replace('wants you to sign in', 'asks you to sign in')],
    ['another kind of account', messageOf({ account: 'Bitcoin' })],
    ['no blank line after the address', messageOf().replace(`${account.address}\n`, account.address)],
    ['a statement of two lines', messageOf({ statement: 'one\ntwo' })],
    ['an unknown line', `${messageOf()}\nExtra: 1`],
    ['a line break at the end', `${messageOf()}\n`],
    ['a field twice', `${messageOf()}\nNonce: 1234567890`],
    [
      'fields in another order',
      messageOf().replace('Version: 1\nChain ID: 8453', 'Chain ID: 8453\nVersion: 1'),
    ],
    ['a field before the blank line', messageOf().replace('\n\nURI', '\nURI')],
    ['a resource without a dash', `${messageOf()}\nResources:\nhttps://a.example/`],
    ['a field after the resources', `${messageOf()}\nResources:\n- https://a.example/\nRequest ID: 1`],
  ])('refuses %s', (_, text) => {
    expect(parseSiwxMessage(text)).toBeUndefined();
  });
});

describe('writing', () => {
  const line = fc.string({ maxLength: 30 }).map(text => text.replaceAll('\n', ' '));
  const optional = fc.option(line, { nil: undefined });
  const message = fc.record({
    account: fc.constantFrom('Ethereum' as const, 'Solana' as const),
    domain: line,
    address: line,
    statement: fc.option(
      line.filter(text => text !== ''),
      { nil: undefined },
    ),
    uri: line,
    version: line,
    chainId: optional,
    nonce: optional,
    issuedAt: optional,
    expirationTime: optional,
    notBefore: optional,
    requestId: optional,
    resources: fc.option(fc.array(line, { minLength: 1, maxLength: 3 }), { nil: undefined }),
  });

  it('is undone by reading', () => {
    fc.assert(
      fc.property(message, fields => {
        expect(parseSiwxMessage(buildSiwxMessage(fields))).toEqual(fields);
      }),
      { numRuns: 200, seed: 402 },
    );
  });

  it('never makes a line break in a field look like another message', () => {
    const hostile: SiwxMessage = { ...parsed, statement: 'Hi\n\nURI: https://x\nVersion: 1' };
    const text = buildSiwxMessage(hostile);
    expect(parseSiwxMessage(text)?.statement).not.toBe(hostile.statement);
  });
});
