DROP FUNCTION open_payment(uuid, bigint, text, text, text, text, text, text, text, text, text, numeric, jsonb, bigint,
  bigint, jsonb);

-- Stores an accepted payment in state settling, before anything is sent, and opens its account when it is the first.
-- `created` is false when the payment was stored before, and when its wallet is `over_budget`: p_max_reverted payments
-- of it were reverted or failed on chain, at our expense, in the last p_window_ms. Without these nothing is counted.
-- Whichever unique key a racing caller meets first, the payment is stored already. With the primary key named, as before,
-- two requests that stored one payment at the same moment could meet at its identity instead, and one of them failed.
CREATE FUNCTION open_payment(
  p_payment_id uuid, p_account_id bigint, p_environment text, p_identity text, p_source text, p_facilitator text,
  p_scheme text, p_network text, p_asset text, p_pay_to text, p_payer text, p_amount_base_units numeric,
  p_signed jsonb, p_from_block bigint, p_lease_ms bigint, p_purpose jsonb DEFAULT NULL,
  p_max_reverted int DEFAULT NULL, p_window_ms float8 DEFAULT NULL,
  OUT created boolean, OUT over_budget boolean
) LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
  created := false;
  over_budget := p_max_reverted IS NOT NULL AND p_max_reverted <= (
    SELECT count(*) FROM payment
    WHERE payer = p_payer AND network = p_network AND state = 'failed' AND reason IN ('reverted', 'failed_on_chain')
      AND updated_at > now() - p_window_ms * interval '1 ms');
  IF over_budget THEN RETURN; END IF;
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
    ON CONFLICT DO NOTHING;
  created := FOUND;
  IF NOT created AND NOT EXISTS (SELECT FROM payment p WHERE p.payment_id = p_payment_id) THEN
    RAISE EXCEPTION 'payment % is stored under another id', p_identity;
  END IF;
END $$;
