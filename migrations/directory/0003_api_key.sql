-- Keys that callers present instead of a signature. The key itself is shown once and never stored: a row
-- is found by the SHA-256 of the key, so nothing in the table can be used to call us.

CREATE TABLE api_key (
  key_hash bytea NOT NULL,
  -- UUIDv7: names the key where it is listed and revoked, and sorts by age.
  key_id uuid NOT NULL,
  customer_id uuid NOT NULL,
  environment text NOT NULL,
  -- The wire dialect that takes the key.
  dialect text NOT NULL,
  -- Lets its owner recognise the key in a list.
  last_four text NOT NULL,
  -- Networks that may use the key; empty means anybody.
  allowed_addresses cidr[] NOT NULL DEFAULT '{}',
  created_at timestamptz NOT NULL DEFAULT now(),
  expires_at timestamptz,
  revoked_at timestamptz,
  CONSTRAINT api_key_pkey PRIMARY KEY (key_hash),
  CONSTRAINT api_key_id_key UNIQUE (key_id),
  -- The composite key is what keeps a test key from ever naming a live customer.
  CONSTRAINT api_key_customer_fkey FOREIGN KEY (customer_id, environment)
    REFERENCES customer (customer_id, environment),
  CONSTRAINT api_key_hash_check CHECK (length(key_hash) = 32),
  CONSTRAINT api_key_last_four_check CHECK (length(last_four) = 4),
  CONSTRAINT api_key_addresses_check CHECK (cardinality(allowed_addresses) <= 100)
);

CREATE INDEX api_key_customer_idx ON api_key (customer_id, key_id);
