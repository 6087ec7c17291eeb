import { readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { CONTRACTS, compileContract } from '../../scripts/compile-contracts.ts';

describe('compiled contracts', () => {
  it.each(CONTRACTS)('$target is what $name compiles to', ({ name, target }) => {
    const written = readFileSync(path.resolve(import.meta.dirname, '../..', target), 'utf8');
    expect(written).toBe(compileContract(name));
  });
});
