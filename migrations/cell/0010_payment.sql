-- Payments and outgoing events of a cell, next to the accounts that they credit, so that credit, state,
-- stored answer and event are one transaction on one node.

-- Which money each network carries. The foreign key from payment makes it impossible to credit a live
-- account with money of a test network, or the other way round.
CREATE TABLE network (
  network text NOT NULL,
  environment text NOT NULL,
  CONSTRAINT network_pkey PRIMARY KEY (network),
  CONSTRAINT network_environment_key UNIQUE (network, environment),
  CONSTRAINT network_environment_check CHECK (environment IN ('live', 'test'))
);

CREATE TABLE payment (
  payment_id uuid NOT NULL,
  account_id bigint NOT NULL,
  environment text NOT NULL,
  identity text NOT NULL,
  -- The dialect that accepted it.
  source text NOT NULL,
  facilitator text NOT NULL,
  scheme text NOT NULL,
  network text NOT NULL,
  asset text NOT NULL,
  pay_to text NOT NULL,
  payer text NOT NULL,
  amount_base_units numeric(78, 0) NOT NULL,
  -- The signed permission, needed to finish the payment after a crash. Worth nothing to anybody else: it
  -- names its receiver and can be used once.
  signed jsonb NOT NULL,
  state text NOT NULL,
  -- Why it failed, or what is not known while it is pending.
  reason text,
  -- First block in which the transfer could be.
  from_block bigint NOT NULL,
  transaction text,
  log_index integer,
  block_number bigint,
  credited_nano_usd bigint,
  -- Available credit right after the credit: part of the stored answer.
  available_nano_usd bigint,
  attempts integer NOT NULL DEFAULT 0,
  -- When the reconciler may look at it next; a claim moves it ahead, which is the lease.
  due_at timestamptz NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT payment_pkey PRIMARY KEY (payment_id),
  CONSTRAINT payment_identity_key UNIQUE (identity),
  CONSTRAINT payment_transfer_key UNIQUE (network, transaction, log_index),
  CONSTRAINT payment_account_fkey FOREIGN KEY (account_id, environment)
    REFERENCES account (account_id, environment),
  CONSTRAINT payment_network_fkey FOREIGN KEY (network, environment)
    REFERENCES network (network, environment),
  CONSTRAINT payment_state_check CHECK (state IN ('settling', 'broadcast', 'pending', 'credited', 'failed')),
  CONSTRAINT payment_amount_check CHECK (amount_base_units > 0),
  CONSTRAINT payment_credited_check CHECK ((state = 'credited') = (credited_nano_usd IS NOT NULL)),
  CONSTRAINT payment_proof_check CHECK (state <> 'credited' OR (transaction IS NOT NULL AND log_index IS NOT NULL)),
  CONSTRAINT payment_reason_check CHECK (state <> 'failed' OR reason IS NOT NULL)
);
CREATE INDEX payment_open_idx ON payment (due_at) WHERE state IN ('settling', 'broadcast', 'pending');
CREATE INDEX payment_account_idx ON payment (account_id, created_at);

CREATE TABLE outbox (
  event_id uuid NOT NULL,
  account_id bigint NOT NULL,
  environment text NOT NULL,
  type text NOT NULL,
  payload jsonb NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT outbox_pkey PRIMARY KEY (event_id)
);

-- Stores an accepted payment in state settling, before anything is sent. `created` is false when it exists.
CREATE FUNCTION open_payment(p payment, OUT created boolean) LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
  PERFORM open_account(p.account_id, p.environment);
  INSERT INTO payment (payment_id, account_id, environment, identity, source, facilitator, scheme, network, asset,
      pay_to, payer, amount_base_units, signed, state, from_block, due_at)
    VALUES (p.payment_id, p.account_id, p.environment, p.identity, p.source, p.facilitator, p.scheme, p.network,
      p.asset, p.pay_to, p.payer, p.amount_base_units, p.signed, 'settling', p.from_block, p.due_at)
    ON CONFLICT ON CONSTRAINT payment_pkey DO NOTHING;
  created := FOUND;
END $$;
