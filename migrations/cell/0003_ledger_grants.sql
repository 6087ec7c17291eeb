-- Grants are used up in a total order: priority, expiry, age, id. The hot path does not touch them: it only
-- adds to account.unburned. Everything that changes the set of grants folds that sum in first, under the
-- account's lock, so the set was constant in between and the result is that of taking every debit at once.

-- Takes account.unburned out of the grants. What no grant covers stays: it was spent on the credit line.
CREATE FUNCTION burn_grants(p_account bigint) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  g record;
  owed bigint;
  left_over bigint;
  part bigint;
BEGIN
  SELECT unburned INTO owed FROM account WHERE account_id = p_account;
  left_over := owed;
  IF owed > 0 THEN
    FOR g IN
      SELECT id, remaining FROM credit_grant WHERE account_id = p_account AND remaining > 0
      ORDER BY priority, expires_at, created_at, id
    LOOP
      EXIT WHEN left_over = 0;
      part := least(left_over, g.remaining);
      UPDATE credit_grant SET remaining = remaining - part WHERE account_id = p_account AND id = g.id;
      left_over := left_over - part;
    END LOOP;
    IF left_over < owed THEN
      UPDATE account SET unburned = left_over WHERE account_id = p_account;
    END IF;
  END IF;
END $$;

-- Forfeits grants that have ended, at most what is not held. A hold protects an amount and no particular grant:
-- ended credit is protected as far as the credit that goes on does not cover the holds, and goes when they end.
-- The first transfer takes p_id if given, one of amount zero where there is nothing to forfeit. The caller holds
-- the lock.
CREATE FUNCTION end_due_grants(p_account bigint, p_now timestamptz, p_id uuid DEFAULT NULL) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
  a account;
  g record;
  part bigint;
  next_id uuid := p_id;
BEGIN
  PERFORM burn_grants(p_account);
  SELECT * INTO a FROM account WHERE account_id = p_account;
  FOR g IN
    SELECT id, remaining, contra, voided FROM credit_grant
    WHERE account_id = p_account AND remaining > 0 AND ends_at <= p_now
    ORDER BY priority, expires_at, created_at, id
  LOOP
    part := least(g.remaining, a.posted - a.held);
    EXIT WHEN part <= 0;
    a.posted := a.posted - part;
    a.seq := a.seq + 1;
    UPDATE credit_grant SET remaining = remaining - part, forfeited = forfeited + part
    WHERE account_id = p_account AND id = g.id;
    INSERT INTO transfer
      (account_id, id, seq, amount, balance_after, hold_amount, created_at, hold_lifetime_ms, code, contra)
    VALUES (p_account, coalesce(next_id, new_id(p_now)), a.seq, -part, a.posted, 0, p_now, 0,
      CASE WHEN g.voided THEN 7 ELSE 8 END, CASE WHEN g.voided THEN void_contra(g.contra) ELSE 3 END);
    next_id := NULL;
  END LOOP;
  IF next_id IS NOT NULL THEN
    a := append_transfer(a, next_id, 0, 7, 0, p_now);
  END IF;
  SELECT coalesce(min(ends_at), 'infinity') INTO a.next_due
  FROM credit_grant WHERE account_id = p_account AND remaining > 0;
  UPDATE account SET posted = a.posted, seq = a.seq, next_due = a.next_due WHERE account_id = p_account;
END $$;

-- Voiding money that came from a chain leaves it in our wallet: it is then owed back (5), not received.
CREATE FUNCTION void_contra(p_contra smallint) RETURNS smallint LANGUAGE sql IMMUTABLE AS $$
  SELECT CASE WHEN p_contra >= 100 THEN 5::smallint ELSE p_contra END
$$;

-- Whether a new transfer may carry this id: a partition holds it, and it is at most five minutes ahead.
CREATE FUNCTION id_in_window(p_id uuid, p_now timestamptz) RETURNS boolean LANGUAGE sql STABLE AS $$
  SELECT p_id >= w.id_from AND p_id < least(w.id_until, id_at(p_now + interval '5 minutes'))
  FROM transfer_window w
$$;

-- Locks the account, forfeits what is due and folds the spending in: every rare operation starts here.
-- Returns the time of the operation, read after the lock is held, so that times follow the sequence.
-- Null: there is no such account, and one that is opened in this moment is not locked.
CREATE FUNCTION lock_account(p_account bigint, p_now timestamptz) RETURNS timestamptz LANGUAGE plpgsql AS $$
DECLARE
  due timestamptz;
BEGIN
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

-- Books p_amount (signed) under the next number of a locked account whose balance the caller keeps in `a`.
CREATE FUNCTION append_transfer(
  INOUT a account, p_id uuid, p_amount bigint, p_code int, p_contra int, p_now timestamptz
) LANGUAGE plpgsql AS $$
BEGIN
  a.posted := a.posted + p_amount;
  a.seq := a.seq + 1;
  INSERT INTO transfer
    (account_id, id, seq, amount, balance_after, hold_amount, created_at, hold_lifetime_ms, code, contra)
  VALUES (a.account_id, p_id, a.seq, p_amount, a.posted, 0, p_now, 0, p_code, p_contra);
END $$;

-- Half of what an int8 can hold is the most that an account may have, so that no sum on the way overflows.
CREATE FUNCTION exceeds_capacity(a account, p_amount bigint) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
  SELECT p_amount > 4611686018427387903 - a.credit_line - greatest(a.posted, 0)
$$;

-- The contra codes that money can move against: our own (1–99), live networks (100–199), test networks
-- (200–299). Null: this one may. Otherwise the refusal: 18 no such code, 11 the money of the other environment.
CREATE FUNCTION refuse_contra(p_contra smallint, p_environment text) RETURNS smallint LANGUAGE sql IMMUTABLE AS $$
  SELECT CASE
    WHEN (p_contra BETWEEN 1 AND 299) IS NOT TRUE THEN 18::smallint
    WHEN p_contra >= 100 AND (p_contra < 200) <> (p_environment = 'live') THEN 11::smallint
  END
$$;

-- Writes back what append_transfer changed, and settles the credit line from what has just arrived.
CREATE FUNCTION store_account(a account) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  UPDATE account SET posted = a.posted, seq = a.seq, unburned = a.unburned WHERE account_id = a.account_id;
  PERFORM burn_grants(a.account_id);
  UPDATE account SET next_due = due.at
  FROM (SELECT coalesce(min(ends_at), 'infinity') AS at
        FROM credit_grant WHERE account_id = a.account_id AND remaining > 0) due
  WHERE account_id = a.account_id AND next_due <> due.at;
END $$;

-- Adds credit.
CREATE FUNCTION add_grant(
  p_account bigint, p_id uuid, p_amount bigint, p_source text, p_contra smallint, p_priority smallint,
  p_expires_at timestamptz, p_now timestamptz DEFAULT NULL,
  OUT status smallint, OUT available bigint, OUT posted bigint
) LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
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
    PERFORM store_account(a);
    status := 0;
    available := a.posted - a.held + a.credit_line;
    posted := a.posted;
  END IF;
END $$;

-- Ends a grant now. What is held stays until the hold has ended; the transfer p_id takes the rest.
CREATE FUNCTION void_grant(
  p_account bigint, p_id uuid, p_grant uuid, p_reason text, p_actor text, p_now timestamptz DEFAULT NULL,
  OUT status smallint, OUT available bigint, OUT posted bigint
) LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
  a account;
  g credit_grant;
BEGIN
  p_now := lock_account(p_account, p_now);
  SELECT * INTO a FROM account WHERE account_id = p_account AND p_now IS NOT NULL;
  available := a.posted - a.held + a.credit_line;
  posted := a.posted;
  IF a.account_id IS NULL THEN
    status := 3; available := 0; posted := 0; RETURN;
  END IF;
  status := replay_of_action(p_account, p_id, 'void', p_grant, 0, NULL, p_reason, p_actor);
  IF status IS NOT NULL THEN RETURN; END IF;
  SELECT * INTO g FROM credit_grant WHERE account_id = p_account AND id = p_grant;
  IF NOT FOUND THEN
    status := 13;
  ELSIF NOT id_in_window(p_id, p_now) THEN
    status := 10;
  ELSE
    INSERT INTO operator_action (account_id, id, action, original_id, amount, reason, actor, created_at)
    VALUES (p_account, p_id, 'void', p_grant, 0, p_reason, p_actor, p_now);
    UPDATE credit_grant SET voided = true, ends_at = least(ends_at, p_now)
    WHERE account_id = p_account AND id = p_grant AND NOT voided;
    PERFORM end_due_grants(p_account, p_now, p_id);
    SELECT acc.posted, acc.posted - acc.held + acc.credit_line INTO posted, available
    FROM account acc WHERE acc.account_id = p_account;
    status := 0;
  END IF;
END $$;

-- Null: the id is new. 1: this very order was done. 4: the id stands for something else. A null amount is not
-- compared: a reversal takes what is left, and a repetition finds nothing left.
CREATE FUNCTION replay_of_action(
  p_account bigint, p_id uuid, p_action text, p_original uuid, p_amount bigint, p_contra smallint,
  p_reason text, p_actor text
) RETURNS smallint LANGUAGE plpgsql AS $$
DECLARE
  done operator_action;
BEGIN
  SELECT * INTO done FROM operator_action WHERE account_id = p_account AND id = p_id;
  IF FOUND THEN
    RETURN CASE WHEN done.action = p_action AND done.amount = coalesce(p_amount, done.amount)
      AND (done.original_id IS NOT DISTINCT FROM p_original OR done.original_id = late_capture_id(p_original))
      AND done.contra IS NOT DISTINCT FROM p_contra
      AND done.reason = p_reason AND done.actor = p_actor THEN 1 ELSE 4 END;
  ELSIF EXISTS (SELECT FROM transfer WHERE account_id = p_account AND id = p_id)
     OR EXISTS (SELECT FROM hold WHERE account_id = p_account AND id = p_id) THEN
    RETURN 4;
  END IF;
  RETURN NULL;
END $$;

-- Brings an idle account up to date, for readers that are about to show its balance.
CREATE FUNCTION touch_account(p_account bigint, p_now timestamptz DEFAULT NULL) RETURNS void
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
  IF EXISTS (SELECT FROM account WHERE account_id = p_account AND next_due <= coalesce(p_now, clock_timestamp())) THEN
    PERFORM lock_account(p_account, p_now);
  END IF;
END $$;
