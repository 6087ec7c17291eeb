-- The outbox becomes the log of events, and every event that an endpoint wants becomes a delivery to it.

ALTER TABLE outbox
  -- Of the top-up that the event is about, where there is one, and what became of it.
  ADD COLUMN transaction_id text,
  ADD COLUMN status text NOT NULL DEFAULT 'ok',
  -- When its deliveries were made. Null: nobody has looked at it yet.
  ADD COLUMN fanned_out_at timestamptz,
  ADD CONSTRAINT outbox_environment_key UNIQUE (event_id, environment),
  ADD CONSTRAINT outbox_environment_check CHECK (environment IN ('live', 'test'));

-- Nobody could ask for what happened before.
UPDATE outbox SET fanned_out_at = now();

CREATE INDEX outbox_waiting_idx ON outbox (created_at) WHERE fanned_out_at IS NULL;
CREATE INDEX outbox_created_idx ON outbox (created_at);

CREATE TABLE webhook_delivery (
  -- UUIDv7: the log is read from the newest on.
  delivery_id uuid NOT NULL,
  event_id uuid NOT NULL,
  -- The endpoint's. The foreign key makes it the event's too: no endpoint gets an event of the other one.
  environment text NOT NULL,
  endpoint_id uuid NOT NULL,
  -- The endpoint's owner, who may see the row; null for the operator's endpoints.
  account_id bigint,
  state text NOT NULL DEFAULT 'pending',
  replay_of uuid,
  -- What came of each attempt, oldest first: { n, at, http_status, duration_ms, error }.
  attempts jsonb NOT NULL DEFAULT '[]',
  -- When the next attempt may start; while one is under way, when it is given up for lost.
  due_at timestamptz NOT NULL,
  in_flight boolean NOT NULL DEFAULT false,
  created_at timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT webhook_delivery_pkey PRIMARY KEY (delivery_id),
  -- An event that is old enough to be forgotten takes its deliveries along.
  CONSTRAINT webhook_delivery_event_fkey FOREIGN KEY (event_id, environment)
    REFERENCES outbox (event_id, environment) ON DELETE CASCADE,
  CONSTRAINT webhook_delivery_state_check CHECK (state IN ('pending', 'succeeded', 'failed'))
) WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 5000);

-- One queue for each endpoint: a claim looks at the head of each, so a long queue is in nobody's way.
CREATE INDEX webhook_delivery_queue_idx ON webhook_delivery (endpoint_id, due_at) WHERE state = 'pending';
CREATE INDEX webhook_delivery_event_idx ON webhook_delivery (event_id);
CREATE INDEX webhook_delivery_account_idx ON webhook_delivery (account_id, environment, delivery_id);
