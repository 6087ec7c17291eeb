-- A Solana payment is named by its network's genesis hash, which is base58 and has capital letters, and by the
-- hash of its message. Everything else stays in lower case, so that one payment has one spelling.
ALTER TABLE payment_claim
  DROP CONSTRAINT payment_claim_canonical_check,
  ADD CONSTRAINT payment_claim_canonical_check CHECK (
    length(identity) BETWEEN 8 AND 300
    AND (identity = lower(identity) OR identity ~ '^svm:[1-9A-HJ-NP-Za-km-z]{32}:[0-9a-f]{64}$'));

-- Transactions that we signed as Solana's fee payer, stored before they are sent. A payment's transaction is
-- fixed by what the payer signed, and our signature over it is always the same, so there is nothing to replace.
CREATE TABLE svm_transaction (
  payment_id uuid NOT NULL,
  network text NOT NULL,
  fee_payer text NOT NULL,
  signature text NOT NULL,
  wire text NOT NULL,
  -- False while it may still be waiting for a block: then it is sent again and again.
  finished boolean NOT NULL DEFAULT false,
  created_at timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT svm_transaction_pkey PRIMARY KEY (payment_id),
  CONSTRAINT svm_transaction_signature_key UNIQUE (network, signature),
  CONSTRAINT svm_transaction_canonical_check CHECK (
    fee_payer ~ '^[1-9A-HJ-NP-Za-km-z]{32,44}$' AND signature ~ '^[1-9A-HJ-NP-Za-km-z]{64,88}$')
);
CREATE INDEX svm_transaction_live_idx ON svm_transaction (network, fee_payer, created_at) WHERE NOT finished;
