-- Guards for a cell on Citus (docs/scale.md), and one more thing that an adjustment is compared by.

-- For orders. Citus hands no call over that stands in a transaction of its caller, as some orders do: right, but slow.
-- There this one is replaced by a warning; refusing them would stop purchases.
CREATE FUNCTION warn_off_cell_node() RETURNS void LANGUAGE plpgsql AS $$ BEGIN END $$;

-- As before, and where it runs is watched.
CREATE OR REPLACE FUNCTION lock_account(p_account bigint, p_now timestamptz) RETURNS timestamptz LANGUAGE plpgsql AS $$
DECLARE
  due timestamptz;
BEGIN
  PERFORM warn_off_cell_node();
  PERFORM FROM account WHERE account_id = p_account FOR NO KEY UPDATE;
  IF NOT FOUND THEN RETURN NULL; END IF;
  p_now := coalesce(p_now, clock_timestamp());
  SELECT next_due INTO due FROM account WHERE account_id = p_account;
  IF due <= p_now THEN
    PERFORM end_due_grants(p_account, p_now);
  ELSE
    PERFORM burn_grants(p_account);
  END IF;
  RETURN p_now;
END $$;

-- The workers' calls as they are, with the guard of the hot path as their first statement: they always stand alone.
DO $$
DECLARE
  name text;
  before text;
  after text;
BEGIN
  FOREACH name IN ARRAY ARRAY['sweep_holds', 'sweep_grants', 'seal_window'] LOOP
    SELECT pg_get_functiondef(p.oid) INTO STRICT before
    FROM pg_proc p WHERE p.pronamespace = current_schema()::regnamespace AND p.proname = name;
    after := regexp_replace(before, E'\nBEGIN\n', E'\nBEGIN\n  PERFORM assert_on_cell_node();\n');
    IF after = before THEN RAISE EXCEPTION '% has no place for its guard', name; END IF;
    EXECUTE after;
  END LOOP;
END $$;

-- As before; and a repetition that collects is not one that does not.
CREATE OR REPLACE FUNCTION adjust(
  p_account bigint, p_id uuid, p_amount bigint, p_contra smallint, p_reason text, p_actor text,
  p_now timestamptz DEFAULT NULL, p_collects boolean DEFAULT false,
  OUT status smallint, OUT available bigint, OUT posted bigint
) LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
  a account;
  v_uncollected bigint := CASE WHEN p_collects THEN p_amount ELSE 0 END;
BEGIN
  p_now := lock_account(p_account, p_now);
  SELECT * INTO a FROM account WHERE account_id = p_account AND p_now IS NOT NULL;
  IF NOT FOUND THEN
    status := 3; available := 0; posted := 0; RETURN;
  END IF;
  status := replay_of_action(p_account, p_id, 'adjust', NULL, coalesce(p_amount, 0), p_contra, p_reason, p_actor);
  IF status = 1 AND EXISTS (
    SELECT FROM operator_action o
    WHERE o.account_id = p_account AND o.id = p_id AND o.uncollected <> v_uncollected
  ) THEN
    status := 4;
  END IF;
  status := coalesce(
    status,
    CASE
      WHEN p_amount IS NULL OR p_amount = 0 OR exceeds_capacity(a, p_amount) THEN 7
      ELSE refuse_contra(p_contra, a.environment) END,
    CASE
      WHEN a.posted - a.held + a.credit_line + p_amount < 0 THEN 2
      WHEN NOT id_in_window(p_id, p_now) THEN 10
      ELSE 0 END);
  IF status = 0 THEN
    INSERT INTO operator_action (account_id, id, action, contra, amount, uncollected, reason, actor, created_at)
    VALUES (p_account, p_id, 'adjust', p_contra, p_amount, v_uncollected, p_reason, p_actor, p_now);
    a := append_transfer(a, p_id, p_amount, 11, p_contra, p_now);
    IF p_amount < 0 THEN
      a.unburned := a.unburned - p_amount;
    ELSE
      INSERT INTO credit_grant
        (account_id, id, source, contra, amount, remaining, priority, created_at, expires_at, ends_at)
      VALUES (p_account, p_id, 'adjustment', p_contra, p_amount, p_amount, 50, p_now, 'infinity', 'infinity');
    END IF;
    PERFORM store_account(a);
  END IF;
  available := a.posted - a.held + a.credit_line;
  posted := a.posted;
END $$;

-- Orders and credits as they are, with plans that are good when the tables have grown: made while a month, the holds or
-- the corrections were empty, a plan would read all of them, and stay until they are next analyzed.
DO $$
DECLARE
  f regprocedure;
BEGIN
  FOR f IN
    SELECT p.oid::regprocedure FROM pg_proc p
    WHERE p.pronamespace = current_schema()::regnamespace AND p.proname IN ('add_grant', 'void_grant', 'refund',
      'reverse_transfer', 'adjust', 'set_frozen', 'set_credit_line', 'touch_account', 'sweep_grants',
      'credit_payment', 'reverse_payment')
  LOOP
    EXECUTE format('ALTER FUNCTION %s SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off', f);
  END LOOP;
END $$;
