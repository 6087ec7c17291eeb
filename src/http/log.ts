import type { FastifyRequest } from 'fastify';
import { type DestinationStream, type Logger, pino } from 'pino';
import { hideSecrets } from './logged-url.ts';

/** Headers that prove something: whoever reads them in a log could use them. */
const SECRET_HEADERS = [
  'authorization',
  'cookie',
  'x-api-key',
  'payment-signature',
  'x-payment',
  'x-402-payment',
  'sign-in-with-x',
  'x-sign-in-with-x',
];

/** The keys under which a secret could be logged by mistake, wherever they appear one level deep. */
const SECRET_KEYS = ['signature', 'authorization', 'privateKey', 'databaseUrl', 'raw', 'apiKey'];

/** The line of a request. Its URL is shown for every request, those to routes that do not exist included. */
function describeRequest({ method, url, host, ip, socket }: FastifyRequest) {
  return { method, url: hideSecrets(url), host, remoteAddress: ip, remotePort: socket.remotePort };
}

/**
 * Structured log on standard error, one JSON object a line. Secrets are censored by name here, and nothing
 * that holds one is passed to it in the first place.
 */
export function createLog(
  level: string,
  destination: DestinationStream = pino.destination({ fd: 2, sync: false }),
): Logger {
  return pino(
    {
      level,
      base: null,
      serializers: { req: describeRequest },
      redact: {
        paths: [
          ...SECRET_HEADERS.map(name => `req.headers["${name}"]`),
          ...SECRET_HEADERS.map(name => `headers["${name}"]`),
          ...SECRET_KEYS,
          ...SECRET_KEYS.map(key => `*.${key}`),
        ],
        censor: '[redacted]',
      },
    },
    destination,
  );
}
