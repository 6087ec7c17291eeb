import {
  type ChannelMessage,
  deleteOldMessages,
  insertMessage,
  listMessages,
  type MessagePage,
} from '../customers/channel-messages.ts';
import { orUnavailable } from '../db/pg-errors.ts';
import type { Queryable } from '../db/queryable.ts';
import type { Clock } from '../lib/clock.ts';
import { newId } from '../lib/ids.ts';
import type { KeyHolder } from './types.ts';

/** The channels there are; anybody with a key may post to each. */
export const CHANNELS = ['general', 'requests'] as const;
export type Channel = (typeof CHANNELS)[number];

/** A message as its author hands it in. */
export interface PostedMessage {
  channel: Channel;
  content: string;
  authorName: string | undefined;
  avatarUrl: string | undefined;
}

/** Messages between customers. Those of the test environment and the live ones do not see each other. */
export interface Channels {
  post(author: KeyHolder, message: PostedMessage): Promise<ChannelMessage>;
  /** Newest first. */
  list(page: MessagePage & { channel: Channel }): Promise<ChannelMessage[]>;
}

export interface ChannelService extends Channels {
  /** Deletes all but the newest messages of each channel. For a worker to call now and then. */
  forgetOldMessages(): Promise<void>;
}

/** Kept per channel and environment: without a bound anybody with a free key could fill the disk. */
const MAX_KEPT = 10_000;
const FORGET_BATCH = 10_000;

export function createChannels({ db, clock }: { db: Queryable; clock: Clock }): ChannelService {
  return {
    async post({ customer, environment }, { channel, content, authorName, avatarUrl }) {
      const nowMs = clock.nowMs();
      const message = {
        id: newId(nowMs),
        channel,
        author: customer.customerId,
        authorName: authorName ?? `user-${customer.customerId.slice(-8)}`,
        content,
        createdAt: new Date(nowMs),
      };
      await orUnavailable(insertMessage(db, { ...message, environment, avatarUrl }));
      return message;
    },
    list: page => orUnavailable(listMessages(db, page)),
    async forgetOldMessages() {
      for (const environment of ['live', 'test'] as const) {
        for (const channel of CHANNELS) {
          await deleteOldMessages(db, { environment, channel, keep: MAX_KEPT, limit: FORGET_BATCH });
        }
      }
    },
  };
}
