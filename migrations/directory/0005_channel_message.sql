-- Messages that customers post for each other to read. Not money, so it lives beside the customers; only the
-- newest of each channel are kept.

CREATE TABLE channel_message (
  -- UUIDv7, so that ids sort by time.
  message_id uuid NOT NULL,
  environment text NOT NULL,
  channel text NOT NULL,
  customer_id uuid NOT NULL,
  author_name text NOT NULL,
  avatar_url text,
  content text NOT NULL,
  -- Whole milliseconds, as it is shown: paging by time must neither skip nor repeat.
  created_at timestamptz NOT NULL,
  CONSTRAINT channel_message_pkey PRIMARY KEY (message_id),
  CONSTRAINT channel_message_customer_fkey FOREIGN KEY (customer_id, environment)
    REFERENCES customer (customer_id, environment),
  CONSTRAINT channel_message_size_check
    CHECK (length(content) <= 2000 AND length(author_name) <= 32 AND length(avatar_url) <= 2048)
);

CREATE INDEX channel_message_channel_idx ON channel_message (environment, channel, created_at, message_id);
