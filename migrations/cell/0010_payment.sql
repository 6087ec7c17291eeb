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
  CONSTRAINT payment_state_check CHECK (state IN ('settling', 'pending', 'credited', 'failed')),
  CONSTRAINT payment_amount_check CHECK (amount_base_units > 0),
  CONSTRAINT payment_credited_check CHECK ((state = 'credited') = (credited_nano_usd IS NOT NULL)),
  CONSTRAINT payment_proof_check CHECK (state <> 'credited' OR (transaction IS NOT NULL AND log_index IS NOT NULL)),
  CONSTRAINT payment_reason_check CHECK (state <> 'failed' OR reason IS NOT NULL)
);
-- What the reconciler looks at: open payments, and reverted ones until their authorization has expired.
CREATE INDEX payment_open_idx ON payment (due_at)
  WHERE state IN ('settling', 'pending') OR (state = 'failed' AND reason = 'reverted');
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

-- Stores an accepted payment in state settling, before anything is sent, and opens its account when it is
-- the first. `created` is false when the payment was stored before.
CREATE FUNCTION open_payment(
  p_payment_id uuid, p_account_id bigint, p_environment text, p_identity text, p_source text, p_facilitator text,
  p_scheme text, p_network text, p_asset text, p_pay_to text, p_payer text, p_amount_base_units numeric,
  p_signed jsonb, p_from_block bigint, p_lease_ms bigint, OUT created boolean
) LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
  IF open_account(p_account_id, p_environment) NOT IN (0, 1) THEN
    RAISE EXCEPTION 'account % belongs to another environment', p_account_id;
  END IF;
  -- What could not be credited later must be refused now, while no money has moved.
  IF NOT id_in_window(p_payment_id, clock_timestamp()) THEN
    RAISE EXCEPTION 'the ledger has no partition for payment %', p_payment_id
      USING ERRCODE = 'object_not_in_prerequisite_state';
  END IF;
  INSERT INTO payment (payment_id, account_id, environment, identity, source, facilitator, scheme, network, asset,
      pay_to, payer, amount_base_units, signed, state, from_block, due_at)
    VALUES (p_payment_id, p_account_id, p_environment, p_identity, p_source, p_facilitator, p_scheme, p_network,
      p_asset, p_pay_to, p_payer, p_amount_base_units, p_signed, 'settling', p_from_block,
      now() + p_lease_ms * interval '1 ms')
    ON CONFLICT ON CONSTRAINT payment_pkey DO NOTHING;
  created := FOUND;
END $$;

-- Ends an open payment that is proven not to have moved money. A reverted one is looked at once more at
-- p_recheck_at and may then get its final reason. A payment that was credited stays credited.
CREATE FUNCTION fail_payment(p_payment_id uuid, p_reason text, p_transaction text, p_recheck_at timestamptz)
RETURNS void LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
  v payment;
  v_was text;
BEGIN
  SELECT state INTO v_was FROM payment WHERE payment_id = p_payment_id FOR NO KEY UPDATE;
  UPDATE payment SET state = 'failed', reason = p_reason, transaction = coalesce(p_transaction, transaction),
      due_at = p_recheck_at, updated_at = now()
    WHERE payment_id = p_payment_id
      AND (state IN ('settling', 'pending') OR (state = 'failed' AND reason = 'reverted'))
    RETURNING * INTO v;
  IF FOUND AND v_was <> 'failed' THEN
    INSERT INTO outbox (event_id, account_id, environment, type, payload)
      VALUES (gen_random_uuid(), v.account_id, v.environment, 'payment.failed',
        jsonb_build_object('paymentId', v.payment_id, 'network', v.network, 'reason', p_reason));
  END IF;
END $$;

-- Credits a payment by the transfer that the chain reports. Grant, state, stored answer and event are this
-- one statement. `first` is false when it was credited before: then the stored answer comes back. A failed
-- payment may still be credited, because the chain's word stands above ours.
CREATE FUNCTION credit_payment(
  p_payment_id uuid, p_amount bigint, p_contra smallint, p_transaction text, p_log_index integer,
  p_block_number bigint, OUT first boolean, OUT credited bigint, OUT available bigint, OUT transaction text
) LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
  v payment;
  g record;
BEGIN
  SELECT * INTO v FROM payment p WHERE p.payment_id = p_payment_id FOR NO KEY UPDATE;
  IF NOT FOUND THEN RAISE EXCEPTION 'there is no payment %', p_payment_id; END IF;
  IF v.state = 'credited' THEN
    first := false;
    credited := v.credited_nano_usd; available := v.available_nano_usd; transaction := v.transaction;
    RETURN;
  END IF;
  SELECT * INTO g FROM add_grant(v.account_id, p_payment_id, p_amount, 'paid', p_contra, 50::smallint, NULL);
  IF g.status <> 0 THEN
    RAISE EXCEPTION 'the ledger refuses the credit of payment %: status %', p_payment_id, g.status;
  END IF;
  first := true; credited := p_amount; available := g.available; transaction := p_transaction;
  UPDATE payment p SET state = 'credited', reason = NULL, transaction = p_transaction, log_index = p_log_index,
      block_number = p_block_number, credited_nano_usd = p_amount, available_nano_usd = g.available,
      updated_at = now()
    WHERE p.payment_id = p_payment_id;
  INSERT INTO outbox (event_id, account_id, environment, type, payload)
    VALUES (gen_random_uuid(), v.account_id, v.environment, 'payment.credited',
      jsonb_build_object('paymentId', p_payment_id, 'network', v.network, 'transaction', p_transaction,
        'amountNanoUsd', p_amount::text, 'source', v.source));
END $$;
