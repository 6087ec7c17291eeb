import type { AddressInfo } from 'node:net';
import { fastify } from 'fastify';
import { announce } from './serve.ts';

/** The least that Fastify can do: no body, no schema, no hook. */
const app = fastify({ logger: false });
app.post('/api/v1/x402/top-up', (_request, reply) => reply.code(402).send());
await app.listen({ host: '127.0.0.1', port: 0 });
announce((app.server.address() as AddressInfo).port);
