import { Ajv } from 'ajv';
import addFormats from 'ajv-formats';
import type { FastifySchemaCompiler } from 'fastify';

const shared = { allErrors: true, strict: false, useDefaults: true, removeAdditional: false } as const;

/** Bodies are what the caller wrote: nothing is coerced, nothing is stripped. */
const bodies = new Ajv({ ...shared, coerceTypes: false });

/** A query string, a path and a header are text, so numbers and booleans have to be read out of it. */
const texts = new Ajv({ ...shared, coerceTypes: true });

addFormats.default(bodies);
addFormats.default(texts);

/** Compiles route schemas with the instance that fits the part of the request. */
export const compileSchema: FastifySchemaCompiler<object> = ({ schema, httpPart }) =>
  (httpPart === 'body' ? bodies : texts).compile(schema);
