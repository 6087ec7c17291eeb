-- Short-lived tokens that an agent's key has made, next to the account that they spend from: each request counts one
-- down, which is a write that no other account should wait for. The token itself is signed and not stored.
CREATE TABLE api_token (
  account_id bigint NOT NULL,
  token_id uuid NOT NULL,
  -- The key that made it; when that is revoked, so is the token.
  key_id uuid NOT NULL,
  request_limit int NOT NULL,
  remaining int NOT NULL,
  created_at timestamptz NOT NULL,
  expires_at timestamptz NOT NULL,
  revoked_at timestamptz,
  CONSTRAINT api_token_pkey PRIMARY KEY (account_id, token_id),
  CONSTRAINT api_token_account_fkey FOREIGN KEY (account_id) REFERENCES account (account_id),
  CONSTRAINT api_token_remaining_check CHECK (remaining BETWEEN 0 AND request_limit),
  CONSTRAINT api_token_life_check CHECK (expires_at > created_at)
) WITH (fillfactor = 50);
CREATE INDEX api_token_key_idx ON api_token (account_id, key_id, expires_at);
CREATE INDEX api_token_expires_idx ON api_token (expires_at);
