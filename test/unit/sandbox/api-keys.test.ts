import Fastify, { type FastifyInstance } from 'fastify';
import { beforeEach, describe, expect, it } from 'vitest';
import { setDefaultErrors } from '../../../src/http/errors.ts';
import { compileSchema } from '../../../src/http/validator.ts';
import { type SandboxKeyOrder, sandboxRoutes } from '../../../src/sandbox/routes.ts';

const CUSTOMER = '01a1fafa-e567-7697-b12b-f32732332f41';

let app: FastifyInstance;
let orders: SandboxKeyOrder[];

beforeEach(async () => {
  orders = [];
  app = Fastify();
  app.setValidatorCompiler(compileSchema);
  setDefaultErrors(app);
  await app.register(sandboxRoutes, {
    publicOrigin: 'http://127.0.0.1:4020',
    databaseUrl: 'postgres://127.0.0.1/none',
    networks: [],
    apiKeys: {
      dria: async order => {
        orders.push(order);
        return { apiKey: 'dkn_key', customerId: CUSTOMER, environment: order.environment };
      },
    },
    reset: async () => undefined,
  });
});

const create = (payload: object) => app.inject({ method: 'POST', url: '/sandbox/v1/api-keys', payload });

describe('an API key of the sandbox', () => {
  it.each<[object, SandboxKeyOrder]>([
    [{}, { environment: 'live' }],
    [
      { environment: 'live', balanceUsd: '0' },
      { environment: 'live', balanceNanoUsd: 0n },
    ],
    [
      { environment: 'test', balanceUsd: '7.35' },
      { environment: 'test', balanceNanoUsd: 7_350_000_000n },
    ],
    [
      { environment: 'staging', balanceUsd: '1000000' },
      { environment: 'test', balanceNanoUsd: 10n ** 15n },
    ],
  ])('is made by %o', async (body, order) => {
    const answer = await create({ dialect: 'dria', ...body });
    expect(answer.statusCode).toBe(200);
    expect(answer.json()).toEqual({
      apiKey: 'dkn_key',
      customerId: CUSTOMER,
      environment: order.environment,
    });
    expect(orders).toEqual([order]);
  });

  it.each<object>([
    {},
    { dialect: 'venice' },
    { dialect: 'toString' },
    { dialect: 'dria', environment: 'production' },
    { dialect: 'dria', balanceUsd: '-1' },
    { dialect: 'dria', balanceUsd: 10 },
    { dialect: 'dria', balanceUsd: '1000000.01' },
    { dialect: 'dria', balance: '10' },
  ])('is not made by %o', async body => {
    const answer = await create(body);
    expect(answer.statusCode).toBe(400);
    expect(answer.json()).toMatchObject({ error: 'malformed_request' });
    expect(orders).toEqual([]);
  });
});
