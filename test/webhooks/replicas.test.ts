import { afterAll, beforeAll, expect, it } from 'vitest';
import type { Outbound } from '../../src/ports/outbound.ts';
import { startGateway, type TestGateway } from '../support/gateway.ts';
import { type Receiver, startReceiver } from '../support/receiver.ts';
import { createOwner, emit, finalDeliveries, type Owner, register } from './support.ts';

const OWNERS = 4;
const ENDPOINTS = 2;
const EVENTS = 50;

let first: TestGateway;
let second: TestGateway;
let receiver: Receiver;
/** Attempts by each replica. */
const attempts = { first: 0, second: 0 };

/** Nobody is called before both have something to deliver, so that both take part. */
let letGo: () => void = () => undefined;
const bothAtWork = new Promise<void>(resolve => {
  letGo = resolve;
});

const counted =
  (name: keyof typeof attempts) =>
  (outbound: Outbound): Outbound => ({
    ...outbound,
    async post(request) {
      attempts[name] += 1;
      if (attempts.first > 0 && attempts.second > 0) letGo();
      await bothAtWork;
      return outbound.post(request);
    },
  });

beforeAll(async () => {
  first = await startGateway({ seams: { allowLoopbackWebhooks: true, outbound: counted('first') } });
  second = await startGateway({
    replicaOf: first,
    seams: { allowLoopbackWebhooks: true, outbound: counted('second') },
  });
  receiver = await startReceiver();
});

afterAll(async () => {
  await receiver?.close();
  await second?.stop();
  await first?.stop();
});

it('two replicas deliver every event once to every endpoint', async () => {
  const owners: Owner[] = [];
  for (let o = 0; o < OWNERS; o += 1) {
    const owner = await createOwner(first);
    for (let e = 0; e < ENDPOINTS; e += 1) await register(first, owner, `${receiver.url}/${o}/${e}`);
    owners.push(owner);
  }
  for (let n = 0; n < EVENTS; n += 1) {
    await Promise.all(owners.map((owner, o) => emit(first, owner, 'balance.low', { o, n })));
  }
  for (const owner of owners) {
    const deliveries = await finalDeliveries(first, owner, EVENTS * ENDPOINTS);
    expect(deliveries.every(each => each.state === 'succeeded' && each.attempts.length === 1)).toBe(true);
  }
  const arrived = receiver.arrivals.map(({ path, body }) => {
    const { o, n } = (JSON.parse(body) as { data: { o: number; n: number } }).data;
    return `${path} ${o} ${n}`;
  });
  const all = owners.flatMap((_, o) =>
    Array.from(
      { length: ENDPOINTS * EVENTS },
      (__, i) => `/hook/${o}/${i % ENDPOINTS} ${o} ${Math.floor(i / ENDPOINTS)}`,
    ),
  );
  expect(arrived.toSorted()).toEqual(all.toSorted());
  expect(attempts.first).toBeGreaterThan(0);
  expect(attempts.second).toBeGreaterThan(0);
  expect(attempts.first + attempts.second).toBe(all.length);
});
