-- Corrections that a person or a reconciler orders. Rows are never changed: every correction is a transfer of
-- its own, with the reason and the actor beside it.

-- Gives credit back, in the reverse of the order of use: first what was spent on the credit line, then the
-- grants that were used last, each up to what was used of it; what finds no live grant becomes a new one.
CREATE FUNCTION give_back(INOUT a account, p_id uuid, p_amount bigint, p_source text, p_contra int, p_now timestamptz)
LANGUAGE plpgsql AS $$
DECLARE
  g record;
  part bigint;
  left_over bigint := p_amount;
BEGIN
  part := least(left_over, a.unburned);
  a.unburned := a.unburned - part;
  left_over := left_over - part;
  FOR g IN
    SELECT id, amount - remaining - forfeited AS used FROM credit_grant
    WHERE account_id = a.account_id AND remaining + forfeited < amount AND ends_at > p_now
    ORDER BY priority DESC, expires_at DESC, created_at DESC, id DESC
  LOOP
    EXIT WHEN left_over = 0;
    part := least(left_over, g.used);
    UPDATE credit_grant SET remaining = remaining + part WHERE account_id = a.account_id AND id = g.id;
    left_over := left_over - part;
  END LOOP;
  IF left_over > 0 THEN
    INSERT INTO credit_grant
      (account_id, id, source, contra, amount, remaining, priority, created_at, expires_at, ends_at)
    VALUES (a.account_id, p_id, p_source, p_contra, left_over, left_over, 50, p_now, 'infinity', 'infinity');
  END IF;
END $$;

-- What a debit or capture took from the customer: its amount without the part that was written off, which
-- is the row right before it.
CREATE FUNCTION collected(t transfer) RETURNS bigint LANGUAGE sql STABLE AS $$
  SELECT -t.amount - coalesce((
    SELECT w.amount FROM transfer w WHERE -w.account_id = -t.account_id AND w.seq = t.seq - 1 AND w.code = 12), 0)
$$;

-- What refunds and reversals have not given back or taken back of a transfer yet.
CREATE FUNCTION outstanding(t transfer) RETURNS bigint LANGUAGE sql STABLE AS $$
  SELECT CASE WHEN t.code = 6 THEN t.amount ELSE collected(t) END - coalesce((
    SELECT sum(o.amount) FROM operator_action o
    WHERE o.account_id = t.account_id AND o.original_id = t.id AND o.action IN ('refund', 'reverse')), 0)
$$;

-- The transfer that charged for what an id stands for. A hold that had expired when it was captured was charged
-- under an id of its own; whoever corrects it knows only the hold's.
CREATE FUNCTION charge_id(p_account bigint, p_id uuid) RETURNS uuid LANGUAGE sql STABLE AS $$
  SELECT coalesce((
    SELECT late.id FROM transfer t
    JOIN transfer late ON late.account_id = t.account_id AND late.id = late_capture_id(t.id) AND late.code = 3
    WHERE t.account_id = p_account AND t.id = p_id AND t.code = 5), p_id)
$$;

-- What reversals had to write off of an account and nothing has brought back yet.
CREATE FUNCTION uncollected_of(p_account bigint) RETURNS bigint LANGUAGE sql STABLE AS $$
  SELECT coalesce(sum(o.uncollected), 0)::bigint FROM operator_action o WHERE o.account_id = p_account
$$;

-- Gives credit back for a debit or capture, as the transfer p_id. What an earlier reversal had to write off goes
-- first: that service was used with money that never came, and its refund must not become credit. Returns the
-- part that was brought back in this way.
CREATE FUNCTION book_give_back(
  INOUT a account, p_id uuid, p_amount bigint, p_code int, p_contra int, p_now timestamptz, OUT brought_back bigint
) LANGUAGE plpgsql AS $$
BEGIN
  brought_back := least(p_amount, uncollected_of(a.account_id));
  a := append_transfer(a, p_id, p_amount, p_code, p_contra, p_now);
  IF brought_back > 0 THEN
    a := append_transfer(a, new_id(p_now), -brought_back, 13, 4, p_now);
  END IF;
  a := give_back(a, p_id, p_amount - brought_back, 'refund', p_contra, p_now);
END $$;

-- Takes a grant back, from a locked account, as far as it is not held: what remains of the grant first, then
-- other credit in the order of use. The rest, credit that was spent before its money turned out not to exist
-- or that was forfeited before, is written off: the whole amount leaves against the grant's own contra, and
-- the balance stays at or above what is held. Returns what was written off.
CREATE FUNCTION take_back(
  INOUT a account, p_id uuid, original transfer, p_now timestamptz, OUT written_off bigint
) LANGUAGE plpgsql AS $$
DECLARE
  g credit_grant;
  taken bigint;
  part bigint;
BEGIN
  SELECT * INTO g FROM credit_grant WHERE account_id = a.account_id AND id = original.id;
  taken := least(g.amount - g.forfeited, greatest(a.posted - a.held, 0));
  part := least(taken, g.remaining);
  written_off := original.amount - taken;
  IF written_off > 0 THEN
    a := append_transfer(a, new_id(p_now), written_off, 12, 4, p_now);
  END IF;
  a := append_transfer(a, p_id, -original.amount, 10, original.contra, p_now);
  UPDATE credit_grant SET remaining = remaining - part, forfeited = forfeited + part
  WHERE account_id = a.account_id AND id = g.id;
  a.unburned := a.unburned + taken - part;
END $$;

-- Refunds a debit or a capture, in one or several parts.
CREATE FUNCTION refund(
  p_account bigint, p_id uuid, p_original uuid, p_amount bigint, p_reason text, p_actor text,
  p_now timestamptz DEFAULT NULL, OUT status smallint, OUT available bigint, OUT posted bigint
) LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
  a account;
  original transfer;
  booked record;
BEGIN
  p_now := lock_account(p_account, p_now);
  SELECT * INTO a FROM account WHERE account_id = p_account AND p_now IS NOT NULL;
  IF NOT FOUND THEN
    status := 3; available := 0; posted := 0; RETURN;
  END IF;
  status := replay_of_action(p_account, p_id, 'refund', p_original, p_amount, NULL, p_reason, p_actor);
  SELECT * INTO original FROM transfer WHERE account_id = p_account AND id = charge_id(p_account, p_original);
  status := coalesce(status, CASE
    WHEN p_amount IS NULL OR p_amount <= 0 THEN 7
    WHEN original.id IS NULL THEN 14
    WHEN original.code NOT IN (1, 3) THEN 16
    WHEN p_amount > outstanding(original) THEN 15
    WHEN exceeds_capacity(a, p_amount) THEN 7
    WHEN NOT id_in_window(p_id, p_now) THEN 10
    ELSE 0 END);
  IF status = 0 THEN
    booked := book_give_back(a, p_id, p_amount, 9, original.contra, p_now);
    a := booked.a;
    INSERT INTO operator_action
      (account_id, id, action, original_id, amount, uncollected, reason, actor, created_at)
    VALUES (p_account, p_id, 'refund', original.id, p_amount, -booked.brought_back, p_reason, p_actor, p_now);
    PERFORM store_account(a);
  END IF;
  available := a.posted - a.held + a.credit_line;
  posted := a.posted;
END $$;

-- Undoes what is left of a transfer: gives a debit or capture back, or takes a grant back whose money turned
-- out not to have come.
CREATE FUNCTION reverse_transfer(
  p_account bigint, p_id uuid, p_original uuid, p_reason text, p_actor text,
  p_now timestamptz DEFAULT NULL, OUT status smallint, OUT available bigint, OUT posted bigint
) LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
  a account;
  original transfer;
  booked record;
  rest bigint;
  v_uncollected bigint;
BEGIN
  p_now := lock_account(p_account, p_now);
  SELECT * INTO a FROM account WHERE account_id = p_account AND p_now IS NOT NULL;
  IF NOT FOUND THEN
    status := 3; available := 0; posted := 0; RETURN;
  END IF;
  status := replay_of_action(p_account, p_id, 'reverse', p_original, NULL, NULL, p_reason, p_actor);
  SELECT * INTO original FROM transfer WHERE account_id = p_account AND id = charge_id(p_account, p_original);
  IF status IS NULL AND original.code IN (1, 3, 6) THEN rest := outstanding(original); END IF;
  status := coalesce(status, CASE
    WHEN original.id IS NULL THEN 14
    WHEN original.code NOT IN (1, 3, 6) THEN 16
    WHEN rest <= 0 THEN 15
    WHEN original.code <> 6 AND exceeds_capacity(a, rest) THEN 7
    WHEN NOT id_in_window(p_id, p_now) THEN 10
    ELSE 0 END);
  IF status = 0 THEN
    IF original.code = 6 THEN
      booked := take_back(a, p_id, original, p_now);
      v_uncollected := booked.written_off;
    ELSE
      booked := book_give_back(a, p_id, rest, 10, original.contra, p_now);
      v_uncollected := -booked.brought_back;
    END IF;
    a := booked.a;
    INSERT INTO operator_action
      (account_id, id, action, original_id, amount, uncollected, reason, actor, created_at)
    VALUES (p_account, p_id, 'reverse', original.id, rest, v_uncollected, p_reason, p_actor, p_now);
    PERFORM store_account(a);
  END IF;
  available := a.posted - a.held + a.credit_line;
  posted := a.posted;
END $$;

-- Corrects a balance by hand, up or down, against a system account of the caller's choice. With p_collects it
-- takes what a reversal had to write off: it then counts as brought back, and no refund pays for it again.
CREATE FUNCTION adjust(
  p_account bigint, p_id uuid, p_amount bigint, p_contra smallint, p_reason text, p_actor text,
  p_now timestamptz DEFAULT NULL, p_collects boolean DEFAULT false,
  OUT status smallint, OUT available bigint, OUT posted bigint
) LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
  a account;
BEGIN
  p_now := lock_account(p_account, p_now);
  SELECT * INTO a FROM account WHERE account_id = p_account AND p_now IS NOT NULL;
  IF NOT FOUND THEN
    status := 3; available := 0; posted := 0; RETURN;
  END IF;
  status := coalesce(
    replay_of_action(p_account, p_id, 'adjust', NULL, coalesce(p_amount, 0), p_contra, p_reason, p_actor),
    CASE
      WHEN p_amount IS NULL OR p_amount = 0 OR exceeds_capacity(a, p_amount) THEN 7
      ELSE refuse_contra(p_contra, a.environment) END,
    CASE
      WHEN a.posted - a.held + a.credit_line + p_amount < 0 THEN 2
      WHEN NOT id_in_window(p_id, p_now) THEN 10
      ELSE 0 END);
  IF status = 0 THEN
    INSERT INTO operator_action (account_id, id, action, contra, amount, uncollected, reason, actor, created_at)
    VALUES (p_account, p_id, 'adjust', p_contra, p_amount, CASE WHEN p_collects THEN p_amount ELSE 0 END,
      p_reason, p_actor, p_now);
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

-- Freezing refuses new debits and holds. What was reserved can still be captured, and money still arrives.
CREATE FUNCTION set_frozen(
  p_account bigint, p_id uuid, p_frozen boolean, p_reason text, p_actor text,
  p_now timestamptz DEFAULT NULL, OUT status smallint, OUT available bigint, OUT posted bigint
) LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
  a account;
  action text := CASE WHEN p_frozen THEN 'freeze' ELSE 'unfreeze' END;
BEGIN
  p_now := lock_account(p_account, p_now);
  SELECT * INTO a FROM account WHERE account_id = p_account AND p_now IS NOT NULL;
  IF NOT FOUND THEN
    status := 3; available := 0; posted := 0; RETURN;
  END IF;
  status := coalesce(
    replay_of_action(p_account, p_id, action, NULL, 0, NULL, p_reason, p_actor),
    CASE WHEN NOT id_in_window(p_id, p_now) THEN 10 ELSE 0 END);
  IF status = 0 THEN
    INSERT INTO operator_action (account_id, id, action, amount, reason, actor, created_at)
    VALUES (p_account, p_id, action, 0, p_reason, p_actor, p_now);
    a := append_transfer(a, p_id, 0, CASE WHEN p_frozen THEN 14 ELSE 15 END, 0, p_now);
    PERFORM store_account(a);
    UPDATE account SET frozen = p_frozen WHERE account_id = p_account;
  END IF;
  available := a.posted - a.held + a.credit_line;
  posted := a.posted;
END $$;

-- Sets how far below zero an account may go. A line that is in use cannot be cut below its use.
CREATE FUNCTION set_credit_line(
  p_account bigint, p_id uuid, p_amount bigint, p_reason text, p_actor text,
  p_now timestamptz DEFAULT NULL, OUT status smallint, OUT available bigint, OUT posted bigint
) LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
  a account;
BEGIN
  p_now := lock_account(p_account, p_now);
  SELECT * INTO a FROM account WHERE account_id = p_account AND p_now IS NOT NULL;
  IF NOT FOUND THEN
    status := 3; available := 0; posted := 0; RETURN;
  END IF;
  status := coalesce(
    replay_of_action(p_account, p_id, 'credit_line', NULL, coalesce(p_amount, 0), NULL, p_reason, p_actor),
    CASE
      WHEN p_amount IS NULL OR p_amount < 0 OR p_amount > 4611686018427387903 - greatest(a.posted, 0) THEN 7
      WHEN a.posted - a.held + p_amount < 0 THEN 2
      WHEN NOT id_in_window(p_id, p_now) THEN 10
      ELSE 0 END);
  IF status = 0 THEN
    INSERT INTO operator_action (account_id, id, action, amount, reason, actor, created_at)
    VALUES (p_account, p_id, 'credit_line', p_amount, p_reason, p_actor, p_now);
    a := append_transfer(a, p_id, 0, 16, 0, p_now);
    PERFORM store_account(a);
    UPDATE account SET credit_line = p_amount WHERE account_id = p_account;
    a.credit_line := p_amount;
  END IF;
  available := a.posted - a.held + a.credit_line;
  posted := a.posted;
END $$;
