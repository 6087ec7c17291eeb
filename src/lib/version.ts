import { createRequire } from 'node:module';

/** The package's version; the manifest is in the folder above both `src` and `dist`. */
export const VERSION = (createRequire(import.meta.url)('../../package.json') as { version: string }).version;
