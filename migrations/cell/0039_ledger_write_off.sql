-- The hot path as before, but for one thing: what a charge could not collect is booked under an id of the charge's own
-- month. A refund reads both rows (`collected`), so one must not leave the log without the other; and a hold of last
-- month is still captured when nobody has made the partition of this one.

-- Applies many operations on many accounts in one transaction and answers each one, with exactly the
-- outcome of applying them one by one at the same instant. An item that is refused leaves nothing behind; the
-- call itself fails only as a whole. An id may appear once per account in a call.
CREATE OR REPLACE FUNCTION apply(
  p_kind smallint[], p_account bigint[], p_id uuid[], p_amount bigint[], p_argument int[],
  p_now timestamptz DEFAULT NULL,
  OUT status smallint[], OUT available bigint[]
) LANGUAGE plpgsql
SET search_path FROM CURRENT
-- A plan made while the tables are small must stay good when they have grown: by key, row by row.
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET enable_material = off
-- With months to leave out, a plan for these very values always looks cheaper, and would be made at every call.
SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
  r record;
  n int := cardinality(p_kind);
  v_now timestamptz;
  id_from uuid;
  id_until uuid;
  code smallint;
  free bigint;
  short bigint;
  v_hold bigint;
  locked bigint[] := '{}';
  next_locked int := 1;
  ending bigint[] := '{}';
  -- Accounts with ended credit that a hold protects. A hold that ends in this call sets it free, and the next
  -- item must find it gone: they are served one by one.
  one_by_one bigint[];
  cur bigint;
  dirty boolean := false;
  v_posted bigint;
  v_held bigint;
  v_unburned bigint;
  v_seq bigint;
  -- Rows to write at the end.
  transfers transfer[] := '{}';
  placed hold[] := '{}';
  renewed hold_change[] := '{}';
  ended hold_change[] := '{}';
  accounts account_change[] := '{}';
BEGIN
  PERFORM assert_on_cell_node();
  status := array_fill(3::smallint, ARRAY[n]);
  available := array_fill(0::bigint, ARRAY[n]);

  -- Lock first and in the order of the accounts, so that calls never wait for each other in a circle. The
  -- statement stands alone: a filter around it would be pushed below the locking, and rows would go unlocked.
  FOR r IN
    SELECT account_id, next_due FROM account WHERE account_id = ANY (p_account)
    ORDER BY account_id FOR NO KEY UPDATE
  LOOP
    locked := locked || r.account_id;
    IF r.next_due < 'infinity' THEN ending := ending || r.account_id; END IF;
  END LOOP;
  v_now := coalesce(p_now, clock_timestamp());
  IF cardinality(ending) > 0 THEN
    FOR r IN
      SELECT account_id FROM account WHERE account_id = ANY (ending) AND next_due <= v_now ORDER BY account_id
    LOOP
      PERFORM end_due_grants(r.account_id, v_now);
    END LOOP;
    SELECT array_agg(account_id) INTO one_by_one
    FROM account WHERE account_id = ANY (ending) AND next_due <= v_now;
  END IF;
  SELECT w.id_from, least(w.id_until, id_at(v_now + interval '5 minutes')) INTO id_from, id_until
  FROM transfer_window w;

  -- A new statement reads what the earlier holders of the locks have committed. It also sees an account that was
  -- opened while we waited and that nobody locked: for this call that one does not exist yet. The rows come in the
  -- order of the locks, so the two lists are walked side by side; a condition on the list of the locked ones would
  -- be worked out anew for every row.
  FOR r IN
    SELECT q.kind, q.account_id, q.id, q.amount, q.argument, q.position::int AS position,
      a.posted, a.held, a.unburned, a.seq, a.credit_line, a.frozen, h.amount AS hold_amount,
      h.lifetime_ms AS hold_lifetime, t.code AS done_code, t.amount AS done_amount, t.hold_amount AS done_hold,
      t.hold_lifetime_ms AS done_lifetime
    FROM unnest(p_kind, p_account, p_id, p_amount, p_argument)
      WITH ORDINALITY q(kind, account_id, id, amount, argument, position)
    JOIN account a ON a.account_id = q.account_id
    LEFT JOIN hold h ON h.account_id = q.account_id AND h.id = q.id
    LEFT JOIN transfer t ON t.account_id = q.account_id AND t.id = q.id
    ORDER BY q.account_id, q.position
  LOOP
    WHILE locked[next_locked] < r.account_id LOOP next_locked := next_locked + 1; END LOOP;
    CONTINUE WHEN locked[next_locked] IS DISTINCT FROM r.account_id;
    IF one_by_one IS NOT NULL AND r.account_id = ANY (one_by_one) THEN
      SELECT o.status, o.available INTO code, free
      FROM apply_one(r.kind, r.account_id, r.id, r.amount, r.argument, v_now) o;
      status[r.position] := code;
      available[r.position] := free;
      CONTINUE;
    END IF;
    IF r.account_id IS DISTINCT FROM cur THEN
      IF dirty THEN
        accounts := accounts || ROW(cur, v_posted, v_held, v_unburned, v_seq)::account_change;
      END IF;
      cur := r.account_id; v_posted := r.posted; v_held := r.held; v_unburned := r.unburned; v_seq := r.seq;
      dirty := false;
    END IF;
    free := v_posted - v_held + r.credit_line;
    code := admission(r.kind, r.amount, r.argument, r.frozen, free, r.hold_amount, r.hold_lifetime,
      r.done_code, r.done_amount, r.done_hold, r.done_lifetime, r.id >= id_from AND r.id < id_until);
    IF code = -1 THEN
      code := admit_late_capture(r.account_id, r.id, r.amount, r.argument, free, v_now);
      r.id := late_capture_id(r.id);
    END IF;
    status[r.position] := code;
    IF code = 0 THEN
      IF r.kind = 2 THEN
        v_held := v_held + r.amount;
        dirty := true;
        placed := placed || ROW(r.account_id, r.id, r.amount, v_now + r.argument * interval '1 millisecond',
          r.argument)::hold;
      ELSIF r.kind = 5 THEN
        renewed := renewed || ROW(r.account_id, r.id, v_now + r.argument * interval '1 millisecond')::hold_change;
      ELSE
        v_hold := coalesce(r.hold_amount, 0);
        IF v_hold > 0 THEN
          v_held := v_held - v_hold;
          ended := ended || ROW(r.account_id, r.id, v_now)::hold_change;
        END IF;
        IF r.kind = 4 THEN r.amount := 0; END IF;
        short := r.amount - free - v_hold;
        IF short > 0 THEN
          v_posted := v_posted + short;
          v_seq := v_seq + 1;
          transfers := transfers
            || ROW(r.account_id, id_beside(r.id), v_seq, short, v_posted, 0, v_now, 0, 12, 4)::transfer;
          v_unburned := v_unburned - short;
        END IF;
        v_posted := v_posted - r.amount;
        v_unburned := v_unburned + r.amount;
        v_seq := v_seq + 1;
        dirty := true;
        transfers := transfers || ROW(r.account_id, r.id, v_seq, -r.amount, v_posted, v_hold, v_now,
          coalesce(r.hold_lifetime, 0), r.kind, CASE WHEN r.kind = 4 THEN 0 ELSE 1 END)::transfer;
      END IF;
    END IF;
    available[r.position] := v_posted - v_held + r.credit_line;
  END LOOP;
  IF dirty THEN
    accounts := accounts || ROW(cur, v_posted, v_held, v_unburned, v_seq)::account_change;
  END IF;

  IF cardinality(renewed) + cardinality(ended) > 0 THEN
    PERFORM change_holds(renewed, ended);
  END IF;
  IF cardinality(accounts) > 0 THEN
    IF cardinality(placed) > 0 THEN
      INSERT INTO hold (account_id, id, amount, expires_at, lifetime_ms)
      SELECT h.account_id, h.id, h.amount, h.expires_at, h.lifetime_ms FROM unnest(placed) h;
    END IF;
    IF cardinality(transfers) > 0 THEN
      INSERT INTO transfer
        (account_id, id, seq, amount, balance_after, hold_amount, created_at, hold_lifetime_ms, code, contra)
      SELECT t.account_id, t.id, t.seq, t.amount, t.balance_after, t.hold_amount, t.created_at,
        t.hold_lifetime_ms, t.code, t.contra
      FROM unnest(transfers) t;
    END IF;
    UPDATE account a SET posted = c.posted, held = c.held, unburned = c.unburned, seq = c.seq
    FROM unnest(accounts) c WHERE a.account_id = c.account_id;
  END IF;
END $$;

-- The same for a single operation, at a third of the price of a batch of one.
CREATE OR REPLACE FUNCTION apply_one(
  p_kind smallint, p_account bigint, p_id uuid, p_amount bigint, p_argument int, p_now timestamptz DEFAULT NULL,
  OUT status smallint, OUT available bigint
) LANGUAGE plpgsql
SET search_path FROM CURRENT SET enable_seqscan = off SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
  a account;
  v_now timestamptz;
  existing record;
  v_hold bigint;
  v_amount bigint := p_amount;
  v_id uuid := p_id;
  short bigint;
BEGIN
  PERFORM assert_on_cell_node();
  SELECT * INTO a FROM account WHERE account_id = p_account FOR NO KEY UPDATE;
  IF NOT FOUND THEN
    status := 3; available := 0; RETURN;
  END IF;
  v_now := coalesce(p_now, clock_timestamp());
  IF a.next_due <= v_now THEN
    PERFORM end_due_grants(p_account, v_now);
    SELECT * INTO a FROM account WHERE account_id = p_account;
  END IF;
  SELECT w.id_from, w.id_until, h.amount AS hold_amount, h.lifetime_ms AS hold_lifetime, t.code, t.amount,
    t.hold_amount AS done_hold, t.hold_lifetime_ms AS done_lifetime
  INTO existing
  FROM transfer_window w
  LEFT JOIN hold h ON h.account_id = p_account AND h.id = p_id
  LEFT JOIN transfer t ON t.account_id = p_account AND t.id = p_id;
  available := a.posted - a.held + a.credit_line;
  status := admission(p_kind, p_amount, p_argument, a.frozen, available, existing.hold_amount, existing.hold_lifetime,
    existing.code, existing.amount, existing.done_hold, existing.done_lifetime,
    p_id >= existing.id_from AND p_id < least(existing.id_until, id_at(v_now + interval '5 minutes')));
  IF status = -1 THEN
    status := admit_late_capture(p_account, p_id, p_amount, p_argument, available, v_now);
    v_id := late_capture_id(p_id);
  END IF;
  IF status <> 0 THEN RETURN; END IF;

  IF p_kind = 2 THEN
    UPDATE account SET held = a.held + p_amount WHERE account_id = p_account;
    INSERT INTO hold (account_id, id, amount, expires_at, lifetime_ms)
    VALUES (p_account, p_id, p_amount, v_now + p_argument * interval '1 millisecond', p_argument);
    available := available - p_amount;
  ELSIF p_kind = 5 THEN
    UPDATE hold SET expires_at = greatest(expires_at, v_now + p_argument * interval '1 millisecond')
    WHERE account_id = p_account AND id = p_id;
  ELSE
    v_hold := coalesce(existing.hold_amount, 0);
    IF v_hold > 0 THEN DELETE FROM hold WHERE account_id = p_account AND id = p_id; END IF;
    IF p_kind = 4 THEN v_amount := 0; END IF;
    short := greatest(v_amount - available - v_hold, 0);
    IF short > 0 THEN
      a := append_transfer(a, id_beside(v_id), short, 12, 4, v_now);
    END IF;
    UPDATE account SET posted = a.posted - v_amount, held = a.held - v_hold,
      unburned = a.unburned + v_amount - short, seq = a.seq + 1
    WHERE account_id = p_account;
    INSERT INTO transfer
      (account_id, id, seq, amount, balance_after, hold_amount, created_at, hold_lifetime_ms, code, contra)
    VALUES (p_account, v_id, a.seq + 1, -v_amount, a.posted - v_amount, v_hold, v_now,
      coalesce(existing.hold_lifetime, 0), p_kind, CASE WHEN p_kind = 4 THEN 0 ELSE 1 END);
    available := a.posted - v_amount - a.held + v_hold + a.credit_line;
  END IF;
END $$;
