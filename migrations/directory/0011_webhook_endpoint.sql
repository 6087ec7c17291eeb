-- Where events are sent. The rows name who may see which events, so they live beside the customers; what is
-- sent lives in the cells.

CREATE TABLE webhook_endpoint (
  -- UUIDv7, so that ids sort by age.
  endpoint_id uuid NOT NULL,
  environment text NOT NULL,
  -- Who registered it, and with that the names of the headers and the times of the retries.
  kind text NOT NULL,
  -- Whose events it gets. Null: those of every account of its environment, for the operator alone.
  customer_id uuid,
  account_id bigint,
  url text NOT NULL,
  events text[] NOT NULL,
  -- Sealed (src/lib/sealed.ts): it must be known again to sign, so a hash would not do.
  secret text NOT NULL,
  -- The secret before the last rotation; it goes on signing until then.
  previous_secret text,
  previous_secret_until timestamptz,
  active boolean NOT NULL DEFAULT true,
  created_at timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT webhook_endpoint_pkey PRIMARY KEY (endpoint_id),
  -- The composite key is what keeps a test endpoint from ever naming a live customer.
  CONSTRAINT webhook_endpoint_customer_fkey FOREIGN KEY (customer_id, environment)
    REFERENCES customer (customer_id, environment),
  CONSTRAINT webhook_endpoint_environment_check CHECK (environment IN ('live', 'test')),
  CONSTRAINT webhook_endpoint_kind_check CHECK (kind IN ('aitopup', 'operator')),
  CONSTRAINT webhook_endpoint_owner_check CHECK (
    (customer_id IS NULL) = (account_id IS NULL) AND (customer_id IS NULL) = (kind = 'operator')),
  CONSTRAINT webhook_endpoint_size_check CHECK (length(url) <= 2048 AND cardinality(events) BETWEEN 1 AND 50),
  CONSTRAINT webhook_endpoint_previous_check CHECK ((previous_secret IS NULL) = (previous_secret_until IS NULL))
);

-- For the fan-out of events, by environment and account, and for the owner's list.
CREATE INDEX webhook_endpoint_account_idx ON webhook_endpoint (environment, account_id);
