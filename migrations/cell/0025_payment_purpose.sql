-- What a payment buys. The purpose is stored with the payment before anything is sent and applied in the very
-- transaction that credits it, so there is no moment at which money has arrived and its purchase is lost, and
-- none at which it could be applied twice, whoever proves the transfer: the request, a repetition of it or
-- the reconciler after a crash.

ALTER TABLE payment
  -- Null: plain credit. Else an object with `kind`, which names the function that applies it, and `terms`, which
  -- tell a repetition of the same purchase from another one.
  ADD COLUMN purpose jsonb,
  -- What the purchase came to: part of the stored answer. `unapplied` instead of it says why it could not be
  -- applied; the money stays on the account as plain credit then.
  ADD COLUMN purpose_result jsonb,
  ADD CONSTRAINT payment_purpose_check
    CHECK (purpose IS NULL OR (purpose ->> 'kind' ~ '^[a-z][a-z_]{0,40}$' AND purpose ->> 'terms' IS NOT NULL));

-- Spends p_amount of the credit that the payment has just brought, whatever other credit the account has: a
-- purchase is paid by its own payment. Debt of a credit line was settled from the credit first; that part
-- is owed again.
CREATE FUNCTION charge_payment(p payment, p_amount bigint, p_contra smallint) RETURNS void
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
  v_now timestamptz := lock_account(p.account_id, NULL);
  a account;
  part bigint;
BEGIN
  SELECT * INTO a FROM account WHERE account_id = p.account_id;
  SELECT least(remaining, p_amount) INTO part FROM credit_grant
    WHERE account_id = p.account_id AND id = p.payment_id;
  UPDATE credit_grant SET remaining = remaining - part WHERE account_id = p.account_id AND id = p.payment_id;
  a.unburned := a.unburned + p_amount - part;
  a := append_transfer(a, new_id(v_now), -p_amount, 1, p_contra, v_now);
  PERFORM store_account(a);
END $$;

-- The function of a kind: apply_purpose_<kind>(payment, credited amount, time) returns what to remember of it.
-- A further kind is a further function; nothing here changes for it.
CREATE FUNCTION purpose_function(p_purpose jsonb) RETURNS text LANGUAGE sql IMMUTABLE AS $$
  SELECT 'apply_purpose_' || (p_purpose ->> 'kind')
$$;

-- Applies the purpose of a payment that is being credited. Money that has arrived is never refused: what the
-- function of the kind refuses is undone, the credit stays, and an event tells the operator. Errors that pass
-- with time are passed on, so that the whole credit is tried again.
CREATE FUNCTION apply_purpose(p payment, p_amount bigint, p_now timestamptz) RETURNS jsonb
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
  result jsonb;
  problem text;
BEGIN
  EXECUTE format('SELECT %I($1, $2, $3)', purpose_function(p.purpose)) INTO result USING p, p_amount, p_now;
  RETURN coalesce(result, '{}');
EXCEPTION WHEN raise_exception OR integrity_constraint_violation OR data_exception OR undefined_function THEN
  GET STACKED DIAGNOSTICS problem = MESSAGE_TEXT;
  INSERT INTO outbox (event_id, account_id, environment, type, payload)
    VALUES (gen_random_uuid(), p.account_id, p.environment, 'payment.unapplied',
      jsonb_build_object('paymentId', p.payment_id, 'purpose', p.purpose ->> 'kind', 'reason', problem));
  RETURN jsonb_build_object('unapplied', problem);
END $$;

DROP FUNCTION open_payment(uuid, bigint, text, text, text, text, text, text, text, text, text, numeric, jsonb, bigint,
  bigint);

-- Stores an accepted payment in state settling, before anything is sent, and opens its account when it is
-- the first. `created` is false when the payment was stored before.
CREATE FUNCTION open_payment(
  p_payment_id uuid, p_account_id bigint, p_environment text, p_identity text, p_source text, p_facilitator text,
  p_scheme text, p_network text, p_asset text, p_pay_to text, p_payer text, p_amount_base_units numeric,
  p_signed jsonb, p_from_block bigint, p_lease_ms bigint, p_purpose jsonb DEFAULT NULL, OUT created boolean
) LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
  IF open_account(p_account_id, p_environment) NOT IN (0, 1) THEN
    RAISE EXCEPTION 'account % belongs to another environment', p_account_id;
  END IF;
  -- What could not be credited or applied later must be refused now, while no money has moved.
  IF NOT id_in_window(p_payment_id, clock_timestamp()) THEN
    RAISE EXCEPTION 'the ledger has no partition for payment %', p_payment_id
      USING ERRCODE = 'object_not_in_prerequisite_state';
  END IF;
  IF p_purpose IS NOT NULL AND to_regproc(purpose_function(p_purpose)) IS NULL THEN
    RAISE EXCEPTION 'there is no purpose %', p_purpose ->> 'kind';
  END IF;
  INSERT INTO payment (payment_id, account_id, environment, identity, source, facilitator, scheme, network, asset,
      pay_to, payer, amount_base_units, signed, state, from_block, due_at, purpose)
    VALUES (p_payment_id, p_account_id, p_environment, p_identity, p_source, p_facilitator, p_scheme, p_network,
      p_asset, p_pay_to, p_payer, p_amount_base_units, p_signed, 'settling', p_from_block,
      now() + p_lease_ms * interval '1 ms', p_purpose)
    ON CONFLICT ON CONSTRAINT payment_pkey DO NOTHING;
  created := FOUND;
END $$;

DROP FUNCTION credit_payment(uuid, bigint, smallint, text, integer, bigint);

-- Credits a payment by the transfer that the chain reports, and applies what it buys. Grant, purchase, state,
-- stored answer and event are this one statement. `first` is false when it was credited before: then the stored
-- answer comes back. A failed payment may still be credited, because the chain's word stands above ours.
-- p_now is the gateway's clock: the time at which a purchase begins. The ledger keeps its own.
CREATE FUNCTION credit_payment(
  p_payment_id uuid, p_amount bigint, p_contra smallint, p_transaction text, p_log_index integer,
  p_block_number bigint, p_now timestamptz,
  OUT first boolean, OUT credited bigint, OUT available bigint, OUT transaction text, OUT purpose_result jsonb
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
    purpose_result := v.purpose_result;
    RETURN;
  END IF;
  SELECT * INTO g FROM add_grant(v.account_id, p_payment_id, p_amount, 'paid', p_contra, 50::smallint, NULL);
  IF g.status <> 0 THEN
    RAISE EXCEPTION 'the ledger refuses the credit of payment %: status %', p_payment_id, g.status;
  END IF;
  first := true; credited := p_amount; available := g.available; transaction := p_transaction;
  IF v.purpose IS NOT NULL THEN
    purpose_result := apply_purpose(v, p_amount, p_now);
    SELECT a.posted - a.held + a.credit_line INTO available FROM account a WHERE a.account_id = v.account_id;
  END IF;
  UPDATE payment p SET state = 'credited', reason = NULL, transaction = p_transaction, log_index = p_log_index,
      block_number = p_block_number, credited_nano_usd = p_amount,
      available_nano_usd = credit_payment.available, purpose_result = credit_payment.purpose_result,
      updated_at = now()
    WHERE p.payment_id = p_payment_id;
  INSERT INTO outbox (event_id, account_id, environment, type, payload)
    VALUES (gen_random_uuid(), v.account_id, v.environment, 'payment.credited',
      jsonb_build_object('paymentId', p_payment_id, 'network', v.network, 'transaction', p_transaction,
        'amountNanoUsd', p_amount::text, 'source', v.source));
END $$;
