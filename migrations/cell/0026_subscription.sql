-- Agents and their plans. An agent is an account that has bought a plan. Plans run on the gateway's clock, which
-- is a parameter of every function here; the ledger keeps its own time. Amounts in nano-USD.

-- What was on sale, by version: a period goes on under the terms it was bought at. Never changed or deleted.
CREATE TABLE plan (
  version text NOT NULL,
  plan text NOT NULL,
  frequency text NOT NULL,
  price bigint NOT NULL,
  -- Credit of each credit period.
  credit bigint NOT NULL,
  credit_periods int NOT NULL,
  credit_period_days int NOT NULL,
  active_days int NOT NULL,
  CONSTRAINT plan_pkey PRIMARY KEY (version, plan, frequency),
  CONSTRAINT plan_amounts_check CHECK (price > 0 AND credit > 0),
  -- The last credit period lasts as long as the plan does.
  CONSTRAINT plan_days_check CHECK (
    credit_periods > 0 AND credit_period_days > 0 AND active_days >= credit_periods * credit_period_days)
);
CREATE TRIGGER plan_append_only BEFORE UPDATE OR DELETE ON plan FOR EACH ROW EXECUTE FUNCTION refuse_change();

CREATE TABLE agent (
  account_id bigint NOT NULL,
  environment text NOT NULL,
  created_at timestamptz NOT NULL,
  last_payment_at timestamptz NOT NULL,
  -- Credit at the start of the credit period and what was bought since: what `credits left` is measured by.
  credit_limit bigint NOT NULL DEFAULT 0,
  CONSTRAINT agent_pkey PRIMARY KEY (account_id),
  CONSTRAINT agent_account_fkey FOREIGN KEY (account_id, environment) REFERENCES account (account_id, environment)
);

-- Time that was paid for. Periods of an account follow each other without overlap.
CREATE TABLE plan_period (
  account_id bigint NOT NULL,
  -- The payment that bought it.
  payment_id uuid NOT NULL,
  version text NOT NULL,
  plan text NOT NULL,
  frequency text NOT NULL,
  starts_at timestamptz NOT NULL,
  ends_at timestamptz NOT NULL,
  -- Credit periods that have begun, and the grant of the newest.
  credit_period int NOT NULL DEFAULT 0,
  grant_id uuid,
  -- When something happens to it next: it starts, its next credit period begins, it ends; then never.
  due_at timestamptz NOT NULL,
  CONSTRAINT plan_period_pkey PRIMARY KEY (account_id, payment_id),
  CONSTRAINT plan_period_agent_fkey FOREIGN KEY (account_id) REFERENCES agent (account_id),
  CONSTRAINT plan_period_plan_fkey FOREIGN KEY (version, plan, frequency) REFERENCES plan (version, plan, frequency)
);
CREATE INDEX plan_period_due_idx ON plan_period (due_at) WHERE due_at < 'infinity';
CREATE INDEX plan_period_end_idx ON plan_period (account_id, ends_at);

CREATE FUNCTION emit_subscription(p_account bigint, p_environment text, p_type text, p_payload jsonb) RETURNS void
LANGUAGE sql AS $$
  INSERT INTO outbox (event_id, account_id, environment, type, payload)
    VALUES (gen_random_uuid(), p_account, p_environment, 'subscription.' || p_type, p_payload)
$$;

-- Ends the credit of a credit period now, except what is held. The account is locked.
CREATE FUNCTION end_plan_grant(p_account bigint, p_grant uuid) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  UPDATE credit_grant SET ends_at = least(ends_at, clock_timestamp())
    WHERE account_id = p_account AND id = p_grant AND remaining > 0;
  IF FOUND THEN PERFORM end_due_grants(p_account, clock_timestamp()); END IF;
END $$;

-- Adds credit of a plan or for the unused part of one: contra 7, what plans cost less the credit they gave.
-- Credit of a plan goes before credit that was topped up, because it ends.
CREATE FUNCTION grant_of_plan(p_account bigint, p_amount bigint, p_priority int, p_expires_at timestamptz)
RETURNS uuid LANGUAGE plpgsql AS $$
DECLARE
  v_id uuid := new_id(clock_timestamp());
  g record;
BEGIN
  SELECT * INTO g FROM add_grant(p_account, v_id, p_amount, 'paid', 7::smallint, p_priority::smallint,
    -- A gateway clock that is behind the ledger's leaves the end to advance_agent alone.
    CASE WHEN p_expires_at > clock_timestamp() THEN p_expires_at END);
  IF g.status <> 0 THEN RAISE EXCEPTION 'the ledger refuses the credit of a plan: status %', g.status; END IF;
  RETURN v_id;
END $$;

-- Brings an agent's plan to p_now: ends credit periods and the plan, begins what begins. Credit periods that
-- went by while nobody looked gave credit that would have ended by now, so they are passed over. Takes the lock.
CREATE FUNCTION advance_agent(p_account bigint, p_now timestamptz) RETURNS void
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
  r record;
  k int;
  v_end timestamptz;
BEGIN
  PERFORM lock_account(p_account, NULL);
  FOR r IN
    SELECT s.*, p.credit, p.credit_periods, p.credit_period_days, g.environment
    FROM plan_period s JOIN plan p USING (version, plan, frequency) JOIN agent g USING (account_id)
    WHERE s.account_id = p_account AND s.due_at <= p_now ORDER BY s.starts_at
  LOOP
    IF r.grant_id IS NOT NULL THEN PERFORM end_plan_grant(p_account, r.grant_id); END IF;
    IF p_now >= r.ends_at THEN
      UPDATE plan_period SET due_at = 'infinity' WHERE account_id = p_account AND payment_id = r.payment_id;
      IF NOT EXISTS (SELECT FROM plan_period WHERE account_id = p_account AND ends_at > r.ends_at) THEN
        PERFORM emit_subscription(p_account, r.environment, 'ended',
          jsonb_build_object('plan', r.plan, 'endedAt', r.ends_at));
      END IF;
      CONTINUE;
    END IF;
    k := least(r.credit_periods,
      1 + floor(extract(epoch FROM p_now - r.starts_at) / (86400 * r.credit_period_days))::int);
    v_end := CASE WHEN k = r.credit_periods THEN r.ends_at
      ELSE r.starts_at + k * r.credit_period_days * interval '24 hours' END;
    UPDATE plan_period
      SET credit_period = k, due_at = v_end, grant_id = grant_of_plan(p_account, r.credit, 30, v_end)
      WHERE account_id = p_account AND payment_id = r.payment_id;
    UPDATE agent SET credit_limit = (SELECT a.posted - a.held FROM account a WHERE a.account_id = p_account)
      WHERE account_id = p_account;
    PERFORM emit_subscription(p_account, r.environment, 'credited',
      jsonb_build_object('plan', r.plan, 'creditPeriod', k, 'amountNanoUsd', r.credit::text, 'until', v_end));
  END LOOP;
END $$;

-- Advances up to p_limit agents that are due; any number of replicas may do so at once. An agent in use is left
-- to whoever uses it.
CREATE FUNCTION advance_due_agents(p_now timestamptz, p_limit int, OUT agents int)
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
  due bigint[];
  r record;
BEGIN
  agents := 0;
  SELECT array_agg(DISTINCT d.account_id) INTO due FROM (
    SELECT account_id FROM plan_period WHERE due_at <= p_now AND due_at < 'infinity' ORDER BY due_at LIMIT p_limit) d;
  FOR r IN
    SELECT account_id FROM account WHERE account_id = ANY (due) ORDER BY account_id FOR NO KEY UPDATE SKIP LOCKED
  LOOP
    PERFORM advance_agent(r.account_id, p_now);
    agents := agents + 1;
  END LOOP;
END $$;

-- What an agent has at p_now; no row for an account that is none. The newest period names plan and frequency,
-- also when it is over.
CREATE FUNCTION agent_state(p_account bigint, p_now timestamptz) RETURNS TABLE (
  plan text, frequency text, last_payment_at timestamptz, active_until timestamptz, active boolean,
  available bigint, credit_limit bigint
) LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
  IF EXISTS (SELECT FROM plan_period s WHERE s.account_id = p_account AND s.due_at <= p_now) THEN
    PERFORM advance_agent(p_account, p_now);
  ELSE
    PERFORM touch_account(p_account);
  END IF;
  RETURN QUERY
    SELECT newest.plan, newest.frequency, g.last_payment_at, cover.until, cover.until > p_now,
      a.posted - a.held + a.credit_line, g.credit_limit
    FROM agent g JOIN account a ON a.account_id = g.account_id
    CROSS JOIN LATERAL (SELECT max(s.ends_at) AS until FROM plan_period s WHERE s.account_id = p_account) cover
    CROSS JOIN LATERAL (
      -- The period that runs; when none does, the one that ended last.
      SELECT s.plan, s.frequency FROM plan_period s WHERE s.account_id = p_account AND s.starts_at <= p_now
      ORDER BY s.starts_at DESC, s.ends_at DESC LIMIT 1) newest
    WHERE g.account_id = p_account;
END $$;

-- What is left of a period in money: for the running credit period the smaller of the time and the credit that
-- are left, so that nobody is given back what was used; for those to come all of it. Rounded down.
CREATE FUNCTION unused_plan_value(p_account bigint, p_payment uuid, p_now timestamptz) RETURNS bigint
LANGUAGE plpgsql STABLE AS $$
DECLARE
  r record;
  v_start timestamptz;
  v_left numeric;
BEGIN
  SELECT s.*, p.price, p.credit, p.credit_periods, p.credit_period_days, coalesce(g.remaining, 0) AS remaining INTO r
    FROM plan_period s JOIN plan p USING (version, plan, frequency)
    LEFT JOIN credit_grant g ON g.account_id = s.account_id AND g.id = s.grant_id
    WHERE s.account_id = p_account AND s.payment_id = p_payment;
  IF r.credit_period = 0 THEN RETURN r.price; END IF;
  v_start := r.starts_at + (r.credit_period - 1) * r.credit_period_days * interval '24 hours';
  v_left := least(
    extract(epoch FROM r.due_at - p_now) / extract(epoch FROM r.due_at - v_start),
    r.remaining::numeric / r.credit);
  RETURN floor(r.price * (v_left + r.credit_periods - r.credit_period) / r.credit_periods)::bigint;
END $$;

-- A payment pays for a purchase with its own money, and for no less than its price.
CREATE FUNCTION charge_purchase(p payment, p_paid bigint, p_price bigint, p_contra int) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
  IF p_paid < p_price THEN RAISE EXCEPTION 'paid % of %', p_paid, p_price; END IF;
  PERFORM charge_payment(p, p_price, p_contra::smallint);
END $$;

-- Purpose `plan` { version, plan, frequency }: a first plan, a renewal, or another plan. The same plan extends
-- what is running; another one begins at once, and what was unused of the old one becomes credit that does not
-- end.
CREATE FUNCTION apply_purpose_plan(p payment, p_paid bigint, p_now timestamptz) RETURNS jsonb
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
  v_plan plan;
  v_last plan_period;
  r record;
  v_unused bigint := 0;
  v_starts timestamptz := p_now;
  v_type text := 'started';
BEGIN
  SELECT * INTO v_plan FROM plan
    WHERE version = p.purpose ->> 'version' AND plan = p.purpose ->> 'plan' AND frequency = p.purpose ->> 'frequency';
  IF NOT FOUND THEN RAISE EXCEPTION 'there is no such plan'; END IF;
  PERFORM charge_purchase(p, p_paid, v_plan.price, 7);
  INSERT INTO agent (account_id, environment, created_at, last_payment_at)
    VALUES (p.account_id, p.environment, p_now, p_now)
    ON CONFLICT ON CONSTRAINT agent_pkey DO UPDATE SET last_payment_at = p_now;
  PERFORM advance_agent(p.account_id, p_now);
  SELECT * INTO v_last FROM plan_period WHERE account_id = p.account_id AND ends_at > p_now ORDER BY ends_at DESC LIMIT 1;
  IF FOUND AND v_last.plan = v_plan.plan THEN
    v_starts := v_last.ends_at;
    v_type := 'renewed';
  ELSIF FOUND THEN
    v_type := 'changed';
    FOR r IN SELECT payment_id, grant_id FROM plan_period WHERE account_id = p.account_id AND ends_at > p_now LOOP
      v_unused := v_unused + unused_plan_value(p.account_id, r.payment_id, p_now);
      IF r.grant_id IS NOT NULL THEN PERFORM end_plan_grant(p.account_id, r.grant_id); END IF;
    END LOOP;
    UPDATE plan_period SET starts_at = least(starts_at, p_now), ends_at = p_now, due_at = 'infinity'
      WHERE account_id = p.account_id AND ends_at > p_now;
    IF v_unused > 0 THEN PERFORM grant_of_plan(p.account_id, v_unused, 50, NULL); END IF;
  END IF;
  INSERT INTO plan_period (account_id, payment_id, version, plan, frequency, starts_at, ends_at, due_at)
    VALUES (p.account_id, p.payment_id, v_plan.version, v_plan.plan, v_plan.frequency, v_starts,
      v_starts + v_plan.active_days * interval '24 hours', v_starts);
  PERFORM emit_subscription(p.account_id, p.environment, v_type, jsonb_build_object('plan', v_plan.plan,
    'frequency', v_plan.frequency, 'paymentId', p.payment_id, 'unusedNanoUsd', v_unused::text,
    'startsAt', v_starts, 'endsAt', v_starts + v_plan.active_days * interval '24 hours'));
  PERFORM advance_agent(p.account_id, p_now);
  RETURN jsonb_build_object('change', v_type, 'unusedNanoUsd', v_unused::text);
END $$;

-- Purpose `agent_topup`: the credit itself, and a higher limit.
CREATE FUNCTION apply_purpose_agent_topup(p payment, p_paid bigint, p_now timestamptz) RETURNS jsonb
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
  v_limit bigint;
BEGIN
  PERFORM advance_agent(p.account_id, p_now);
  UPDATE agent SET credit_limit = credit_limit + p_paid WHERE account_id = p.account_id
    RETURNING credit_limit INTO v_limit;
  IF NOT FOUND THEN RAISE EXCEPTION 'the account is no agent'; END IF;
  RETURN jsonb_build_object('creditLimitNanoUsd', v_limit::text);
END $$;

-- Purposes with a fee { priceNanoUsd } and no more to them inside the cell.
CREATE FUNCTION apply_purpose_agent_key(p payment, p_paid bigint, p_now timestamptz) RETURNS jsonb
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
  PERFORM charge_purchase(p, p_paid, (p.purpose ->> 'priceNanoUsd')::bigint, 1);
  RETURN '{}';
END $$;

CREATE FUNCTION apply_purpose_agent_key_revocation(p payment, p_paid bigint, p_now timestamptz) RETURNS jsonb
LANGUAGE sql SET search_path FROM CURRENT AS $$
  SELECT apply_purpose_agent_key(p, p_paid, p_now)
$$;

-- Purpose `agent_status`: the state as it was when it was paid for, so that a repetition gets the same answer.
CREATE FUNCTION apply_purpose_agent_status(p payment, p_paid bigint, p_now timestamptz) RETURNS jsonb
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
  s record;
BEGIN
  PERFORM charge_purchase(p, p_paid, (p.purpose ->> 'priceNanoUsd')::bigint, 1);
  SELECT * INTO s FROM agent_state(p.account_id, p_now);
  IF NOT FOUND THEN RAISE EXCEPTION 'the account is no agent'; END IF;
  RETURN jsonb_build_object('plan', s.plan, 'frequency', s.frequency, 'lastPaymentAt', s.last_payment_at,
    'activeUntil', s.active_until, 'asOf', p_now, 'availableNanoUsd', s.available::text);
END $$;
