import { Server } from '@modelcontextprotocol/sdk/server/index.js';
import { StreamableHTTPServerTransport } from '@modelcontextprotocol/sdk/server/streamableHttp.js';
import { CallToolRequestSchema, ListToolsRequestSchema } from '@modelcontextprotocol/sdk/types.js';
import type { FastifyInstance, FastifyPluginAsync } from 'fastify';
import { Type } from 'typebox';
import type { KeyHolder } from '../../accounts/types.ts';
import { VERSION } from '../../lib/version.ts';
import { requireApiKey, senderOf } from './authentication.ts';
import { readBodiesAsJson } from './bodies.ts';
import { type Answer, CODE, Refusal } from './envelope.ts';
import { answerInEnvelope, refuseUnknown, toAnswer } from './errors.ts';
import { createOperations, type Operations } from './operations.ts';
import type { AitopupOptions } from './options.ts';
import { CancelRequest, Envelope, SendRequest } from './schemas.ts';
import { readObject, readTopupName } from './wire.ts';

/** Where the MCP server is mounted. */
export const MCP_PREFIX = '/api/public/mcp';

const TransactionId = Type.Object({ transaction_id: Type.String() });

const SendInput = Type.Object({
  ...SendRequest.properties,
  idempotency_key: Type.Optional(Type.String({ description: 'makes a repetition harmless' })),
});

interface Tool {
  description: string;
  inputSchema: object;
  run(operations: Operations, sender: KeyHolder, input: unknown): Promise<Answer>;
}

/** The four tools; each answers what the route of the same name does. */
const TOOLS: Readonly<Record<string, Tool>> = {
  topup_send: {
    description: 'Send prepaid AI credit to somebody. Code 1001: delivered, 1002: pending.',
    inputSchema: SendInput,
    run(operations, sender, input) {
      const { idempotency_key: key, ...body } = readObject(input);
      return operations.send(sender, body, key ?? undefined);
    },
  },
  topup_status: {
    description: 'What became of a top-up.',
    inputSchema: TransactionId,
    run: (operations, sender, input) => operations.status(sender, readTopupName(input)),
  },
  topup_cancel: {
    description: 'Cancel a pending top-up; the money goes back to the wallet.',
    inputSchema: CancelRequest,
    run: (operations, sender, input) => operations.cancel(sender, input),
  },
  topup_balance: {
    description: 'The wallet of the key’s owner and the cap of the key.',
    inputSchema: Type.Object({}),
    run: (operations, sender) => operations.balance(sender),
  },
};

/**
 * The same API for agents: MCP over Streamable HTTP, behind the same keys. Nothing is kept between two
 * requests, so any replica answers any of them, and every answer is one JSON document.
 */
export const aitopupMcp: FastifyPluginAsync<AitopupOptions> = async (app, options) => {
  answerInEnvelope(app, options.clock);
  refuseUnknown(app, MCP_PREFIX, [{ path: /^\/?$/, methods: ['POST'] }]);
  readBodiesAsJson(app);
  app.setValidatorCompiler(() => () => true);
  const operations = createOperations(options);
  await app.register(async keyed => {
    requireApiKey(keyed, options);
    mcpRoute(keyed, operations, options);
  });
};

function mcpRoute(app: FastifyInstance, operations: Operations, { clock }: AitopupOptions): void {
  const schema = {
    tags: ['aitopup'],
    security: [{ bearer: [] }],
    operationId: 'aitopupMcp',
    summary: 'MCP server (Streamable HTTP)',
    description: `Tools: ${Object.keys(TOOLS).join(', ')}. Each answers the envelope as structured content.`,
    body: Type.Object({}, { additionalProperties: true, description: 'a JSON-RPC message' }),
  };
  app.post('', { schema }, async (request, reply) => {
    // The protocol has dropped batches, and one would be many calls at the price of one.
    if (Array.isArray(request.body)) {
      throw new Refusal(CODE.malformed, 'send one message in a request', 'batch_refused');
    }
    const server = createServer(operations, senderOf(request), () => clock.nowMs());
    const transport = new StreamableHTTPServerTransport({ enableJsonResponse: true });
    void reply.hijack();
    reply.raw.on('close', () => void server.close());
    for (const [name, value] of Object.entries(reply.getHeaders())) {
      if (value !== undefined) reply.raw.setHeader(name, value);
    }
    await server.connect(transport);
    await transport.handleRequest(request.raw, reply.raw, request.body);
    return reply;
  });
}

function createServer(operations: Operations, sender: KeyHolder, nowMs: () => number): Server {
  const server = new Server({ name: 'aitopup', version: VERSION }, { capabilities: { tools: {} } });
  server.setRequestHandler(ListToolsRequestSchema, () => ({
    tools: Object.entries(TOOLS).map(([name, { description, inputSchema }]) => ({
      name,
      description,
      inputSchema: inputSchema as { type: 'object' },
      outputSchema: Envelope as unknown as { type: 'object' },
    })),
  }));
  server.setRequestHandler(CallToolRequestSchema, async ({ params }) => {
    const tool = Object.hasOwn(TOOLS, params.name) ? TOOLS[params.name] : undefined;
    if (!tool) throw new Error(`there is no tool ${params.name}`);
    const { envelope } = await tool
      .run(operations, sender, params.arguments ?? {})
      .catch((error: unknown) => toAnswer(error, nowMs()));
    return {
      content: [{ type: 'text' as const, text: JSON.stringify(envelope) }],
      structuredContent: { ...envelope },
      isError: !envelope.success,
    };
  });
  return server;
}
