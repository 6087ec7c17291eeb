import type { FastifyInstance } from 'fastify';
import type { Static } from 'typebox';
import type { ChannelMessage } from '../../customers/channel-messages.ts';
import type { RateLimiters } from '../../http/rate-limit.ts';
import { GatewayError } from '../../lib/errors.ts';
import { keyHolderOf, perHolder } from './authentication.ts';
import { DEFAULT_MESSAGES, POST_MESSAGE_RATE, READ_RATE } from './limits.ts';
import type { DriaOptions } from './options.ts';
import { errorText, json, Message, MessageList, MessageQuery, NewMessage } from './schemas.ts';

export const CHANNEL_PATH = '/channel';

const common = { tags: ['dria'], security: [{ bearer: [] }] };

const refusals = {
  400: errorText('The request is malformed'),
  401: errorText('The key is missing or not valid'),
  429: errorText('Too many calls with this key', ['Retry-After']),
  503: errorText('A part is down, try again', ['Retry-After']),
};

const postSchema = {
  ...common,
  operationId: 'driaPostMessage',
  summary: 'Post a message to a channel',
  body: NewMessage,
  response: { 200: json('The message as others read it', Message), ...refusals },
};

const listSchema = {
  ...common,
  operationId: 'driaListMessages',
  summary: 'Read the newest messages of a channel',
  description: 'Newest first. `before` and `after` are exclusive; page back with the last `createdAt`.',
  querystring: MessageQuery,
  response: { 200: json('Messages, newest first', MessageList), ...refusals },
};

/** `POST` and `GET /v1/channel`. */
export function channelRoutes(app: FastifyInstance, { channels }: DriaOptions, limiters: RateLimiters): void {
  app.post<{ Body: Static<typeof NewMessage> }>(
    CHANNEL_PATH,
    { schema: postSchema, onRequest: perHolder(limiters.perKey(POST_MESSAGE_RATE)) },
    async request => {
      const { channel, content, name, avatar } = request.body;
      if (avatar !== undefined && !URL.canParse(avatar)) {
        throw new GatewayError('malformed_request', 'avatar must be an https URL');
      }
      const message = { channel, content, authorName: name, avatarUrl: avatar };
      return messageBody(await channels.post(keyHolderOf(request), message));
    },
  );

  app.get<{ Querystring: Static<typeof MessageQuery> }>(
    CHANNEL_PATH,
    { schema: listSchema, onRequest: perHolder(limiters.perKey(READ_RATE)) },
    async request => {
      const { channel, limit = DEFAULT_MESSAGES, before, after } = request.query;
      const { environment } = keyHolderOf(request);
      const times = { before: readTime('before', before), after: readTime('after', after) };
      const messages = await channels.list({ environment, channel, limit, ...times });
      return { messages: messages.map(messageBody) };
    },
  );
}

/** The schema admits only times that name their zone; Date would read anything else in the server's own. */
function readTime(name: string, text: string | undefined): Date | undefined {
  if (text === undefined) return undefined;
  const time = new Date(text);
  if (Number.isNaN(time.getTime())) throw new GatewayError('malformed_request', `${name} is not a time`);
  return time;
}

function messageBody({ id, channel, author, authorName, content, createdAt }: ChannelMessage) {
  return {
    id,
    channel,
    author,
    authorName,
    authorType: 'api',
    content,
    createdAt: createdAt.toISOString(),
  } as const;
}
