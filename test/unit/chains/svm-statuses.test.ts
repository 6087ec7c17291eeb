import { describe, expect, it } from 'vitest';
import type { JsonRpcAnswer } from '../../../src/chains/json-rpc.ts';
import { joinStatusCalls } from '../../../src/chains/svm-statuses.ts';
import { encodeBase58 } from '../../../src/lib/svm-address.ts';

/** A node whose answers wait until they are let go; it answers every signature with its name. */
function slowNode() {
  const asked: (readonly string[])[] = [];
  const open: { signatures: readonly string[]; answer(given: JsonRpcAnswer | Error): void }[] = [];
  const ask = joinStatusCalls(signatures => {
    asked.push(signatures);
    return new Promise((resolve, reject) => {
      open.push({
        signatures,
        answer: given => (given instanceof Error ? reject(given) : resolve(given)),
      });
    });
  });
  return {
    asked,
    ask,
    /** Answers the oldest open call. */
    async answer(given?: JsonRpcAnswer | Error) {
      const call = open.shift();
      if (!call) throw new Error('nothing was asked');
      call.answer(given ?? named(call.signatures));
      await turn();
    },
  };
}

/** To the end of a turn of the event loop, and so after what is sent there. */
const turn = async () => {
  await new Promise(setImmediate);
  await new Promise(setImmediate);
};

/** A node with two calls under way, as many as there can be, and the answers to them. */
async function busyNode() {
  const node = slowNode();
  const first = node.ask([a]);
  await turn();
  const second = node.ask([b]);
  await turn();
  return { ...node, busy: [first, second] };
}

const named = (value: readonly string[]): JsonRpcAnswer => ({ result: { context: { slot: 7 }, value } });

/** The text of a signature. */
const sig = (number: number): string => {
  const bytes = new Uint8Array(64).fill(7);
  new DataView(bytes.buffer).setUint32(60, number);
  return encodeBase58(bytes);
};

const list = (start: number, count: number) =>
  Array.from({ length: count }, (_, index) => sig(start + index));

const [a, b, c, d, e] = list(1_000, 5) as [string, string, string, string, string];

describe('questions about signatures', () => {
  it('that come in one turn of the event loop share a call', async () => {
    const node = slowNode();
    const answers = [[a], [b, c]].map(signatures => node.ask(signatures));
    await turn();
    expect(node.asked).toEqual([[a, b, c]]);
    await node.answer();
    expect(await Promise.all(answers)).toEqual([[a], [b, c]].map(named));
  });

  it('go out while two calls at most are under way, and share the next call then', async () => {
    const node = await busyNode();
    const answers = [[c, d], [e]].map(signatures => node.ask(signatures));
    await turn();
    expect(node.asked).toEqual([[a], [b]]);
    await node.answer();
    expect(node.asked).toEqual([[a], [b], [c, d, e]]);
    await node.answer();
    await node.answer();
    expect(await Promise.all([...node.busy, ...answers])).toEqual([[a], [b], [c, d], [e]].map(named));
  });

  it('are never cut in two, and are 256 signatures a call at most', async () => {
    const node = await busyNode();
    const whole = [list(0, 200), list(200, 50), list(250, 7), list(257, 300)].map(each => node.ask(each));
    for (let call = 0; call < 5; call += 1) await node.answer();
    expect(node.asked.slice(2).map(({ length }) => length)).toEqual([250, 7, 300]);
    expect(await Promise.all(node.busy)).toEqual([named([a]), named([b])]);
    expect(await whole[1]).toEqual(named(list(200, 50)));
    expect(await whole[2]).toEqual(named(list(250, 7)));
    expect(await whole[3]).toEqual(named(list(257, 300)));
  });

  it('fail together when the node does not answer, and the next ones are asked', async () => {
    const node = await busyNode();
    const heard = [...node.busy, node.ask([c]), node.ask([d])].map(answer => answer.catch(String));
    await node.answer(new Error('gone'));
    await node.answer();
    await node.answer(new Error('gone for two'));
    expect(await Promise.all(heard)).toEqual([
      'Error: gone',
      named([b]),
      'Error: gone for two',
      'Error: gone for two',
    ]);
    const later = node.ask([e]);
    await turn();
    await node.answer();
    expect(await later).toEqual(named([e]));
  });

  it('hear together that the node refuses', async () => {
    const node = await busyNode();
    const heard = [...node.busy, node.ask([c]), node.ask([d])];
    const refusal = { error: { code: -32_005, message: 'too many requests' } };
    await node.answer();
    await node.answer();
    await node.answer(refusal);
    expect(await Promise.all(heard)).toEqual([named([a]), named([b]), refusal, refusal]);
    expect(node.asked).toHaveLength(3);
  });

  it.each([
    ['of another length', named([c])],
    ['that is no list', { result: { context: { slot: 7 }, value: null } }],
    ['that is nothing', { result: null }],
  ])('take no answer %s for theirs', async (_, given) => {
    const node = await busyNode();
    const heard = [...node.busy, node.ask([c]), node.ask([d])];
    await node.answer();
    await node.answer();
    await node.answer(given);
    const refusal = { error: { message: expect.stringContaining('no list') as string } };
    expect(await Promise.all(heard)).toEqual([named([a]), named([b]), refusal, refusal]);
  });

  it.each(['', 'nobody', sig(1).slice(1), `${sig(1)}1`, '0x12'])(
    'about %o, which is no signature, are asked apart and cost the others nothing',
    async odd => {
      const node = await busyNode();
      const heard = [...node.busy, node.ask([c]), node.ask([odd])];
      expect(node.asked).toEqual([[a], [b], [odd]]);
      const refusal = { error: { code: -32_602, message: 'Invalid param: WrongSize' } };
      await node.answer();
      await node.answer();
      await node.answer(refusal);
      await node.answer();
      expect(await Promise.all(heard)).toEqual([named([a]), named([b]), named([c]), refusal]);
    },
  );
});
