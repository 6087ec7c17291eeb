-- Less work for a credit. What is decided is as before.

-- As before, with one look at the account instead of three.
CREATE OR REPLACE FUNCTION lock_account(p_account bigint, p_now timestamptz) RETURNS timestamptz LANGUAGE plpgsql AS $$
DECLARE
  due timestamptz;
  owed bigint;
BEGIN
  PERFORM warn_off_cell_node();
  SELECT next_due, unburned INTO due, owed FROM account WHERE account_id = p_account FOR NO KEY UPDATE;
  IF NOT FOUND THEN RETURN NULL; END IF;
  p_now := coalesce(p_now, clock_timestamp());
  IF due <= p_now THEN
    PERFORM end_due_grants(p_account, p_now);
  ELSIF owed > 0 THEN
    PERFORM burn_grants(p_account);
  END IF;
  RETURN p_now;
END $$;

-- Adds credit. As before, but where nothing is owed and no grant has an end, only the new one can give the account one:
-- looking through all its grants cost more with each of them. And the log was planned for anew with every call, because
-- the planner likes a plan for the one partition of this id; finding it when it runs takes a twentieth of that. A plan that
-- is kept must not be one for the empty tables of the first day.
CREATE OR REPLACE FUNCTION add_grant(
  p_account bigint, p_id uuid, p_amount bigint, p_source text, p_contra smallint, p_priority smallint,
  p_expires_at timestamptz, p_now timestamptz DEFAULT NULL,
  OUT status smallint, OUT available bigint, OUT posted bigint
) LANGUAGE plpgsql SET search_path FROM CURRENT SET enable_seqscan = off SET plan_cache_mode = force_generic_plan AS $$
DECLARE
  a account;
  existing record;
  expires timestamptz := coalesce(p_expires_at, 'infinity');
BEGIN
  p_now := lock_account(p_account, p_now);
  SELECT * INTO a FROM account WHERE account_id = p_account AND p_now IS NOT NULL;
  available := a.posted - a.held + a.credit_line;
  posted := a.posted;
  IF a.account_id IS NULL THEN
    status := 3; available := 0; posted := 0; RETURN;
  END IF;
  SELECT t.code, g.amount, g.source, g.contra, g.priority, g.expires_at INTO existing
  FROM transfer t LEFT JOIN credit_grant g ON g.account_id = t.account_id AND g.id = t.id
  WHERE t.account_id = p_account AND t.id = p_id;
  IF FOUND THEN
    status := CASE WHEN existing.code = 6
      AND (existing.amount, existing.source, existing.contra, existing.priority, existing.expires_at)
        = (p_amount, p_source, p_contra, p_priority, expires) THEN 1 ELSE 4 END;
  ELSIF EXISTS (SELECT FROM hold WHERE account_id = p_account AND id = p_id)
     OR EXISTS (SELECT FROM operator_action WHERE account_id = p_account AND id = p_id) THEN
    status := 4;
  ELSIF p_amount IS NULL OR p_amount <= 0 OR exceeds_capacity(a, p_amount) THEN
    status := 7;
  ELSIF NOT id_in_window(p_id, p_now) THEN
    status := 10;
  ELSIF refuse_contra(p_contra, a.environment) IS NOT NULL THEN
    status := refuse_contra(p_contra, a.environment);
  ELSIF expires <= p_now THEN
    status := 12;
  ELSE
    INSERT INTO credit_grant (account_id, id, source, contra, amount, remaining, priority, created_at, expires_at, ends_at)
    VALUES (p_account, p_id, p_source, p_contra, p_amount, p_amount, p_priority, p_now, expires, expires);
    a := append_transfer(a, p_id, p_amount, 6, p_contra, p_now);
    IF a.unburned = 0 AND a.next_due = 'infinity' THEN
      UPDATE account SET posted = a.posted, seq = a.seq, next_due = expires WHERE account_id = p_account;
    ELSE
      PERFORM store_account(a);
    END IF;
    status := 0;
    available := a.posted - a.held + a.credit_line;
    posted := a.posted;
  END IF;
END $$;

-- As before; nearly every account is there already, and finding it costs less than an insert that conflicts.
CREATE OR REPLACE FUNCTION open_account(
  p_account bigint, p_environment text, p_now timestamptz DEFAULT NULL, OUT status smallint
) LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
  IF EXISTS (SELECT FROM account WHERE account_id = p_account AND environment = p_environment) THEN
    status := 1;
    RETURN;
  END IF;
  INSERT INTO account (account_id, environment, created_at)
  VALUES (p_account, p_environment, coalesce(p_now, clock_timestamp()))
  -- Whichever unique key a racing caller meets first: both say that the account exists.
  ON CONFLICT DO NOTHING;
  IF FOUND THEN
    status := 0;
  ELSIF EXISTS (SELECT FROM account WHERE account_id = p_account AND environment = p_environment) THEN
    status := 1;
  ELSE
    status := 4;
  END IF;
END $$;
