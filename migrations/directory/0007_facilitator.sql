-- What all replicas remember of the facilitators they use: what each can settle, so that offers are made while
-- it is down, and whether it has said that a payment was settled when the chain proves the opposite. It is a
-- counterparty and no money, so it belongs to no environment.
CREATE TABLE facilitator (
  -- `embedded` or the base URL.
  name text NOT NULL,
  supported jsonb,
  supported_at timestamptz,
  distrusted_at timestamptz,
  distrust_payment_id uuid,
  distrust_reason text,
  CONSTRAINT facilitator_pkey PRIMARY KEY (name),
  CONSTRAINT facilitator_supported_check CHECK ((supported IS NULL) = (supported_at IS NULL)),
  CONSTRAINT facilitator_distrust_check
    CHECK ((distrusted_at IS NULL) = (distrust_payment_id IS NULL) AND (distrusted_at IS NULL) = (distrust_reason IS NULL))
);
