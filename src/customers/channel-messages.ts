import type { Queryable } from '../db/queryable.ts';
import type { Environment } from '../ports/environment.ts';

/** A message as everybody in its environment may read it. */
export interface ChannelMessage {
  id: string;
  channel: string;
  /** Names the author's customer and nothing else. */
  author: string;
  authorName: string;
  content: string;
  createdAt: Date;
}

export interface NewChannelMessage extends ChannelMessage {
  environment: Environment;
  avatarUrl: string | undefined;
}

interface MessageRow {
  message_id: string;
  channel: string;
  customer_id: string;
  author_name: string;
  content: string;
  created_at: Date;
}

const toMessage = (row: MessageRow): ChannelMessage => ({
  id: row.message_id,
  channel: row.channel,
  author: row.customer_id,
  authorName: row.author_name,
  content: row.content,
  createdAt: row.created_at,
});

export async function insertMessage(db: Queryable, message: NewChannelMessage): Promise<void> {
  await db.query({
    name: 'directory.insert_channel_message',
    text: `INSERT INTO directory.channel_message (message_id, environment, channel, customer_id, author_name,
             avatar_url, content, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`,
    values: [
      message.id,
      message.environment,
      message.channel,
      message.author,
      message.authorName,
      message.avatarUrl ?? null,
      message.content,
      message.createdAt,
    ],
  });
}

/** Which messages of a channel are read; both times are exclusive. */
export interface MessagePage {
  environment: Environment;
  channel: string;
  limit: number;
  before?: Date | undefined;
  after?: Date | undefined;
}

/** The newest messages of a page, newest first. */
export async function listMessages(db: Queryable, page: MessagePage): Promise<ChannelMessage[]> {
  const result = await db.query<MessageRow>({
    name: 'directory.list_channel_messages',
    text: `SELECT message_id, channel, customer_id, author_name, content, created_at
           FROM directory.channel_message
           WHERE environment = $1 AND channel = $2 AND created_at < coalesce($3, 'infinity'::timestamptz)
             AND created_at > coalesce($4, '-infinity'::timestamptz)
           ORDER BY created_at DESC, message_id DESC LIMIT $5`,
    values: [page.environment, page.channel, page.before ?? null, page.after ?? null, page.limit],
  });
  return result.rows.map(toMessage);
}

/**
 * Deletes what a channel holds beyond its newest `keep` messages, at most `limit` of them.
 * @returns how many were deleted.
 */
export async function deleteOldMessages(
  db: Queryable,
  {
    environment,
    channel,
    keep,
    limit,
  }: { environment: Environment; channel: string; keep: number; limit: number },
): Promise<number> {
  const result = await db.query({
    name: 'directory.delete_old_channel_messages',
    text: `DELETE FROM directory.channel_message WHERE message_id IN (
             SELECT message_id FROM directory.channel_message WHERE environment = $1 AND channel = $2
             ORDER BY created_at DESC, message_id DESC OFFSET $3 LIMIT $4)`,
    values: [environment, channel, keep, limit],
  });
  return result.rowCount ?? 0;
}
