import type { FastifyInstance } from 'fastify';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { buildUnconnectedApp } from '../../src/commands/openapi.ts';
import { readProjectFile } from './project.ts';

interface Operation {
  operationId?: string;
  summary?: string;
  tags?: string[];
  parameters?: { in: string; name: string }[];
  responses?: Record<string, unknown>;
}

const document = parse(readProjectFile('openapi.yaml')) as {
  openapi: string;
  paths: Record<string, Record<string, Operation>>;
};

const operations = Object.entries(document.paths).flatMap(([route, methods]) =>
  Object.entries(methods).map(([method, operation]) => ({ route, method, operation })),
);

let app: FastifyInstance;
beforeAll(async () => {
  app = await buildUnconnectedApp();
});
afterAll(() => app.close());

/** Reads Fastify's printed tree of routes: two columns of four characters a level, then path and methods. */
function registeredRoutes(): string[] {
  const parents: string[] = [];
  const routes: string[] = [];
  for (const line of app.printRoutes({ commonPrefix: false }).split('\n')) {
    const [, indent, part = '', methods] = /^([│ ]*)[├└]── (\S+)(?: \(([A-Z, ]+)\))?$/.exec(line) ?? [];
    if (indent === undefined) continue;
    const depth = indent.length / 4;
    const route = (depth === 0 ? '' : (parents[depth - 1] ?? '')) + part;
    parents[depth] = route;
    for (const method of methods?.split(', ') ?? []) routes.push(`${method} ${route}`);
  }
  return routes;
}

describe('openapi.yaml', () => {
  it('is OpenAPI 3.1 and what the server itself serves', async () => {
    expect(document.openapi).toMatch(/^3\.1\.\d+$/);
    const served = await app.inject({ method: 'GET', url: '/openapi.json' });
    expect(served.json()).toEqual(document);
  });

  it('names every registered route, and no other', () => {
    const registered = registeredRoutes();
    expect(registered).toContain('GET /openapi.json');
    // HEAD and OPTIONS go with a route; the pages that show this document are not part of the interface.
    const expected = registered.filter(
      route => !/^(HEAD|OPTIONS) /.test(route) && !/^GET \/(docs|openapi\.json)/.test(route),
    );
    const named = operations.map(
      ({ route, method }) => `${method.toUpperCase()} ${route.replaceAll(/\{(\w+)\}/g, ':$1')}`,
    );
    expect(named.toSorted()).toEqual(expected.toSorted());
  });

  it('names each operation once and says what it is for', () => {
    const ids = operations.map(({ operation }) => operation.operationId);
    expect(ids).not.toContain(undefined);
    expect(new Set(ids).size).toBe(ids.length);
    for (const { operation } of operations) {
      expect(operation.summary).toBeTruthy();
      expect(operation.tags).toHaveLength(1);
      expect(Object.keys(operation.responses ?? {})).not.toEqual([]);
    }
  });

  it('declares the parameters of each path', () => {
    for (const { route, operation } of operations) {
      const declared = (operation.parameters ?? []).filter(p => p.in === 'path').map(p => p.name);
      expect(declared).toEqual([...route.matchAll(/\{(\w+)\}/g)].map(([, name]) => name));
    }
  });
});
