-- Payments that we settle for others, whose money is never ours: no account and no ledger row belongs to them.
-- The row is committed before anything is sent, and keeps the answer for the caller that asked. Its identity is
-- claimed in payment_claim first, for no account: so a payment is either somebody's credit or settled for
-- others, and never both.
-- Null for a payment that is settled for others.
ALTER TABLE payment_claim ALTER COLUMN account_id DROP NOT NULL;

CREATE TABLE facilitator_settlement (
  payment_id uuid NOT NULL,
  identity text NOT NULL,
  environment text NOT NULL,
  -- Who asked: the name of the API key.
  caller text NOT NULL,
  network text NOT NULL,
  -- The signed permission, needed to finish after a crash.
  signed jsonb NOT NULL,
  from_block bigint NOT NULL,
  state text NOT NULL DEFAULT 'settling',
  reason text,
  transaction text,
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT facilitator_settlement_pkey PRIMARY KEY (payment_id),
  CONSTRAINT facilitator_settlement_identity_key UNIQUE (identity),
  CONSTRAINT facilitator_settlement_environment_check CHECK (environment IN ('live', 'test')),
  CONSTRAINT facilitator_settlement_state_check CHECK (state IN ('settling', 'settled', 'failed')),
  CONSTRAINT facilitator_settlement_proof_check CHECK (state <> 'settled' OR transaction IS NOT NULL),
  CONSTRAINT facilitator_settlement_reason_check CHECK ((state = 'failed') = (reason IS NOT NULL))
);
