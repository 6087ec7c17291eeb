-- Wallets of one person can be linked to one customer. The customer that is left over is deleted, and the
-- foreign keys decide whether that may be: nothing can be claimed for, and nothing held by, somebody who is gone.
ALTER TABLE payment_claim
  ADD CONSTRAINT payment_claim_account_fkey FOREIGN KEY (account_id) REFERENCES customer (account_id);
-- For that foreign key, when a customer is deleted.
CREATE INDEX payment_claim_account_idx ON payment_claim (account_id);

-- Who linked what, and what became of the customer that was left over. Rows are never changed.
CREATE TABLE customer_link (
  -- UUIDv7.
  link_id uuid NOT NULL,
  environment text NOT NULL,
  -- Named only: it may be linked away itself one day.
  customer_id uuid NOT NULL,
  -- The identities that were shown, in canonical form.
  first_value text NOT NULL,
  second_value text NOT NULL,
  -- Null when one of the identities was new.
  removed_customer_id uuid,
  removed_account_id bigint,
  actor text NOT NULL,
  reason text NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT customer_link_pkey PRIMARY KEY (link_id),
  CONSTRAINT customer_link_environment_check CHECK (environment IN ('live', 'test')),
  CONSTRAINT customer_link_removed_check CHECK ((removed_customer_id IS NULL) = (removed_account_id IS NULL)),
  CONSTRAINT customer_link_actor_check CHECK (length(actor) BETWEEN 1 AND 200),
  CONSTRAINT customer_link_reason_check CHECK (length(reason) BETWEEN 1 AND 500)
);
CREATE INDEX customer_link_customer_idx ON customer_link (customer_id);
