import { PassThrough } from 'node:stream';
import { describe, expect, it } from 'vitest';
import { confirm } from '../../../src/commands/confirm.ts';

/** A terminal on which somebody types this; without the end of the stream nobody leaves. */
function terminal(typed: string, { leaves = false, isTTY = true } = {}) {
  const input = Object.assign(new PassThrough(), { isTTY });
  const output = Object.assign(new PassThrough(), { isTTY });
  input.write(typed);
  if (leaves) input.end();
  return { input, output, shown: () => String(output.read() ?? '') };
}

describe('the question before a payment', () => {
  it.each([
    ['y\n', true],
    [' YES \r\n', true],
    ['n\n', false],
    ['\n', false],
    ['yesterday\n', false],
    ['no\ny\n', false],
  ])('answered with %j is %s', async (typed, agreed) => {
    const dialogue = terminal(typed);
    expect(await confirm('Pay? ', dialogue)).toBe(agreed);
    expect(dialogue.shown()).toContain('Pay? ');
  });

  it('that somebody leaves is not agreed to', async () => {
    expect(await confirm('Pay? ', terminal('', { leaves: true }))).toBe(false);
    expect(await confirm('Pay? ', terminal('\u0003'))).toBe(false);
    expect(await confirm('Pay? ', terminal('\u0004'))).toBe(false);
  });

  it('is not asked where nobody is', async () => {
    const dialogue = terminal('y\n', { isTTY: false });
    expect(await confirm('Pay? ', dialogue)).toBe(false);
    expect(dialogue.shown()).toContain('--yes');
  });
});
