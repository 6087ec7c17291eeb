-- The owner's threshold lies beside the balance, because a balance changes in many ways and each of them may
-- cross it. Only the crossing is an event: two comparisons for each change, and nothing more until then.

ALTER TABLE account ADD COLUMN alert_below bigint, ADD CONSTRAINT account_alert_below_check CHECK (alert_below >= 0);

-- Cents of available credit are rounded down, as for every balance that is shown.
CREATE FUNCTION note_balance_low(a account, p_transaction_id text) RETURNS void LANGUAGE sql AS $$
  INSERT INTO outbox (event_id, account_id, environment, type, transaction_id, payload)
  VALUES (gen_random_uuid(), a.account_id, a.environment, 'balance.low', p_transaction_id,
    jsonb_build_object('balance_cents', div(a.posted - a.held, 10000000),
      'threshold_cents', div(a.alert_below, 10000000), 'currency', 'USD'))
$$;

CREATE FUNCTION account_crossed_alert() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
  PERFORM note_balance_low(NEW, nullif(current_setting('gateway.transaction_id', true), ''));
  RETURN NULL;
END $$;

CREATE TRIGGER account_alert AFTER UPDATE OF posted, held ON account FOR EACH ROW
  WHEN (NEW.alert_below IS NOT NULL AND OLD.posted - OLD.held >= NEW.alert_below
    AND NEW.posted - NEW.held < NEW.alert_below)
  EXECUTE FUNCTION account_crossed_alert();

-- Sets or removes (null) the threshold of an account. One above the balance is an event at once, unless it was
-- set already.
CREATE FUNCTION set_balance_alert(p_account bigint, p_below bigint) RETURNS boolean
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
  a account;
  v_before bigint;
BEGIN
  SELECT * INTO a FROM account WHERE account_id = p_account FOR NO KEY UPDATE;
  IF NOT FOUND THEN RETURN false; END IF;
  v_before := a.alert_below;
  UPDATE account SET alert_below = p_below WHERE account_id = p_account RETURNING * INTO a;
  IF a.posted - a.held < p_below AND p_below IS DISTINCT FROM v_before THEN
    PERFORM note_balance_low(a, NULL);
  END IF;
  RETURN true;
END $$;
