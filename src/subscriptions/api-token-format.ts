import { createHmac, hkdfSync, timingSafeEqual } from 'node:crypto';
import { type Static, Type } from 'typebox';
import { Value } from 'typebox/value';

const Claims = Type.Object({
  /** The agent. */
  sub: Type.String(),
  /** Names the token where it is counted and revoked. */
  jti: Type.String({ format: 'uuid' }),
  /** The key that made it. */
  key: Type.String({ format: 'uuid' }),
  /** Unix seconds. */
  iat: Type.Integer(),
  exp: Type.Integer(),
});

export type TokenClaims = Static<typeof Claims>;

/** The only header that is made, and so the only one that is taken: nobody else chooses the algorithm. */
const HEADER = encode({ alg: 'HS256', typ: 'JWT' });

const TOKEN = /^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$/;

export interface TokenFormat {
  sign(claims: TokenClaims): string;
  /** @returns undefined for what was not signed here; whether it has ended is for the caller to judge */
  read(token: string): TokenClaims | undefined;
}

/** JSON Web Tokens (RFC 7519) with HMAC-SHA256. @param secret the tokens' own is derived from it */
export function createTokenFormat(secret: string): TokenFormat {
  const key = Buffer.from(hkdfSync('sha256', secret, '', 'api tokens of agents', 32));
  const signatureOf = (signed: string) => createHmac('sha256', key).update(signed).digest();

  return {
    sign(claims) {
      const signed = `${HEADER}.${encode(claims)}`;
      return `${signed}.${signatureOf(signed).toString('base64url')}`;
    },
    read(token) {
      if (!TOKEN.test(token)) return undefined;
      const [header = '', body = '', signature = ''] = token.split('.');
      const presented = Buffer.from(signature, 'base64url');
      const expected = signatureOf(`${header}.${body}`);
      const isSigned = presented.length === expected.length && timingSafeEqual(presented, expected);
      if (header !== HEADER || !isSigned) return undefined;
      const claims: unknown = JSON.parse(Buffer.from(body, 'base64url').toString());
      return Value.Check(Claims, claims) ? claims : undefined;
    },
  };
}

function encode(value: object): string {
  return Buffer.from(JSON.stringify(value)).toString('base64url');
}
