-- Nonces of sign-in proofs that were used. A proof is good for one request in the whole deployment, so
-- the memory is here and not in a process. Rows matter until their proof has expired by itself.

CREATE TABLE proof_nonce (
  -- Canonical address of the wallet that signed.
  wallet text NOT NULL,
  nonce text NOT NULL,
  expires_at timestamptz NOT NULL,
  CONSTRAINT proof_nonce_pkey PRIMARY KEY (wallet, nonce),
  CONSTRAINT proof_nonce_size_check CHECK (length(wallet) <= 64 AND length(nonce) BETWEEN 8 AND 128)
);

-- For the bounded deletion of what has expired.
CREATE INDEX proof_nonce_expires_idx ON proof_nonce (expires_at);
