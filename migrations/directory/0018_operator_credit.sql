-- Credit that the operator books by hand, by the name that the operator gave the order: one name, one credit. The row
-- is written first; the booking in the customer's cell has its id and is repeated until it is there.
CREATE TABLE operator_credit (
  idempotency_key text NOT NULL,
  -- UUIDv7.
  credit_id uuid NOT NULL,
  customer_id uuid NOT NULL,
  environment text NOT NULL,
  -- Nano-USD.
  amount bigint NOT NULL,
  reason text NOT NULL,
  actor text NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT operator_credit_pkey PRIMARY KEY (idempotency_key),
  CONSTRAINT operator_credit_id_key UNIQUE (credit_id),
  -- Who is to be credited is not linked away before the credit is there.
  CONSTRAINT operator_credit_customer_fkey FOREIGN KEY (customer_id, environment)
    REFERENCES customer (customer_id, environment),
  CONSTRAINT operator_credit_key_check CHECK (length(idempotency_key) BETWEEN 1 AND 255),
  CONSTRAINT operator_credit_amount_check CHECK (amount > 0),
  CONSTRAINT operator_credit_reason_check CHECK (length(reason) BETWEEN 1 AND 500),
  CONSTRAINT operator_credit_actor_check CHECK (length(actor) BETWEEN 1 AND 200)
);
CREATE INDEX operator_credit_customer_idx ON operator_credit (customer_id);
