-- The hot path. Kinds: 1 debit, 2 hold, 3 capture, 4 release, 5 renew. The argument is the lifetime in
-- milliseconds for a hold and its renewal; for a debit and a capture it says what happens beyond the money
-- that is there or held: 0 refuse, 1 take the excess of a capture from the available credit, 2 collect what
-- there is and book the rest as written off.

-- The whole rule of admission, for one item, from the state of its account and of its id. Both forms of the
-- call below use it; as a single SQL expression it is inlined and costs no call.
-- 17 is for the caller alone: a capture whose hold has expired.
CREATE FUNCTION admission(
  kind smallint, amount bigint, argument int, frozen boolean, available bigint,
  hold_amount bigint, done_code smallint, done_amount bigint, done_hold bigint, id_ok boolean
) RETURNS smallint LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
  SELECT (CASE
    WHEN amount IS NULL OR amount < 0 OR amount > 4611686018427387903 OR (amount = 0 AND kind <= 2) THEN 7
    WHEN kind IN (2, 5) AND (argument IS NULL OR argument <= 0) THEN 12
    WHEN done_code IS NOT NULL THEN CASE kind
      WHEN 1 THEN CASE WHEN done_code = 1 AND done_amount = -amount THEN 1 ELSE 4 END
      WHEN 2 THEN CASE WHEN done_hold = amount THEN 1 ELSE 4 END
      WHEN 3 THEN CASE WHEN done_code = 3 AND done_amount = -amount THEN 1 WHEN done_code = 5 THEN 17 ELSE 4 END
      WHEN 4 THEN CASE done_code WHEN 4 THEN 1 WHEN 5 THEN 9 ELSE 4 END
      ELSE CASE done_code WHEN 5 THEN 9 ELSE 5 END
    END
    WHEN hold_amount IS NOT NULL THEN CASE kind
      WHEN 1 THEN 4
      WHEN 2 THEN CASE WHEN hold_amount = amount THEN 1 ELSE 4 END
      WHEN 3 THEN CASE
        WHEN amount <= hold_amount THEN 0
        WHEN argument = 0 THEN 8
        WHEN argument = 2 OR available >= amount - hold_amount THEN 0
        ELSE 2 END
      ELSE 0
    END
    WHEN kind > 2 THEN 5
    WHEN frozen THEN 6
    WHEN NOT id_ok THEN 10
    WHEN available >= amount OR (kind = 1 AND argument = 2) THEN 0
    ELSE 2
  END)::smallint
$$;

-- The id under which an expired hold's capture is booked: its own is taken by the expiry. Same time, so it
-- lands in the partition of the hold, and always the same, so a retry finds it.
CREATE FUNCTION late_capture_id(p_id uuid) RETURNS uuid LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
  SELECT (left(p_id::text, 14) || '7' || substring(md5(p_id::text || ' late capture') FROM 1 FOR 3) || '-8'
    || substring(md5(p_id::text || ' late capture') FROM 4 FOR 15))::uuid
$$;

CREATE FUNCTION admit_late_capture(
  p_account bigint, p_id uuid, p_amount bigint, p_argument int, p_available bigint, p_now timestamptz
) RETURNS smallint LANGUAGE plpgsql AS $$
DECLARE
  done bigint;
BEGIN
  SELECT amount INTO done FROM transfer WHERE account_id = p_account AND id = late_capture_id(p_id);
  RETURN CASE
    WHEN FOUND AND done = -p_amount THEN 1
    WHEN FOUND THEN 4
    WHEN p_argument = 0 THEN 9
    -- The month of the hold may be closed already, on its way out of the log.
    WHEN NOT id_in_window(p_id, p_now) THEN 10
    WHEN p_argument = 2 OR p_available >= p_amount THEN 0
    ELSE 2 END;
END $$;

-- A cell on Citus replaces the body (docs/scale.md), so that a call that was not passed to the cell's node
-- fails instead of running slowly from the coordinator.
CREATE FUNCTION assert_on_cell_node() RETURNS void LANGUAGE plpgsql AS $$ BEGIN END $$;

-- Renews and removes holds of locked accounts. On a table that was empty when it was analyzed the planner would
-- read all holds and look each up in the list, by any index there is; bitmaps must have a key to start from.
CREATE FUNCTION change_holds(
  w_account bigint[], w_id uuid[], w_life int[], d_account bigint[], d_id uuid[], p_now timestamptz
) RETURNS void LANGUAGE plpgsql
SET enable_seqscan = off SET enable_indexscan = off SET enable_hashjoin = off SET enable_mergejoin = off
AS $$
BEGIN
  IF cardinality(w_account) > 0 THEN
    UPDATE hold h SET expires_at = greatest(h.expires_at, p_now + w.life * interval '1 millisecond')
    FROM unnest(w_account, w_id, w_life) w(account_id, id, life)
    WHERE h.account_id = w.account_id AND h.id = w.id;
  END IF;
  IF cardinality(d_account) > 0 THEN
    DELETE FROM hold h USING unnest(d_account, d_id) d(account_id, id)
    WHERE h.account_id = d.account_id AND h.id = d.id;
  END IF;
END $$;

-- Applies many operations on many accounts in one transaction and answers each one, with exactly the
-- outcome of applying them one by one. An item that is refused leaves nothing behind; the call itself fails
-- only as a whole. An id may appear once per account in a call.
CREATE FUNCTION apply(
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
  fresh_from uuid;
  fresh_until uuid;
  code smallint;
  free bigint;
  short bigint;
  v_hold bigint;
  locked bigint[] := '{}';
  ending bigint[] := '{}';
  cur bigint;
  dirty boolean := false;
  v_posted bigint;
  v_held bigint;
  v_unburned bigint;
  v_seq bigint;
  -- Rows to write at the end, column by column: h holds, d ended holds, w renewed holds, t transfers, u accounts.
  h_account bigint[] := '{}'; h_id uuid[] := '{}'; h_amount bigint[] := '{}'; h_life int[] := '{}';
  d_account bigint[] := '{}'; d_id uuid[] := '{}';
  w_account bigint[] := '{}'; w_id uuid[] := '{}'; w_life int[] := '{}';
  t_account bigint[] := '{}'; t_id uuid[] := '{}'; t_seq bigint[] := '{}'; t_amount bigint[] := '{}';
  t_after bigint[] := '{}'; t_hold bigint[] := '{}'; t_code smallint[] := '{}'; t_contra smallint[] := '{}';
  u_account bigint[] := '{}'; u_posted bigint[] := '{}'; u_held bigint[] := '{}'; u_unburned bigint[] := '{}';
  u_seq bigint[] := '{}';
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
  END IF;
  -- Ids minted in the last day need no look at the window: their partition is never detached so early.
  fresh_from := id_at(v_now - interval '1 day');
  fresh_until := id_at(v_now + interval '5 minutes');

  -- A new statement reads what the earlier holders of the locks have committed. It would also see an account
  -- that was opened while we waited and that nobody locked: for this call that one does not exist yet.
  FOR r IN
    SELECT q.kind, q.account_id, q.id, q.amount, q.argument, q.position::int AS position,
      a.posted, a.held, a.unburned, a.seq, a.credit_line, a.frozen, h.amount AS hold_amount,
      t.code AS done_code, t.amount AS done_amount, t.hold_amount AS done_hold
    FROM unnest(p_kind, p_account, p_id, p_amount, p_argument)
      WITH ORDINALITY q(kind, account_id, id, amount, argument, position)
    JOIN account a ON a.account_id = q.account_id AND a.account_id = ANY (locked)
    LEFT JOIN hold h ON h.account_id = q.account_id AND h.id = q.id
    LEFT JOIN transfer t ON t.account_id = q.account_id AND t.id = q.id
    ORDER BY q.account_id, q.position
  LOOP
    IF r.account_id IS DISTINCT FROM cur THEN
      IF dirty THEN
        u_account := u_account || cur; u_posted := u_posted || v_posted; u_held := u_held || v_held;
        u_unburned := u_unburned || v_unburned; u_seq := u_seq || v_seq;
      END IF;
      cur := r.account_id; v_posted := r.posted; v_held := r.held; v_unburned := r.unburned; v_seq := r.seq;
      dirty := false;
    END IF;
    free := v_posted - v_held + r.credit_line;
    code := admission(r.kind, r.amount, r.argument, r.frozen, free, r.hold_amount, r.done_code, r.done_amount,
      r.done_hold, (r.id >= fresh_from AND r.id < fresh_until) OR id_in_window(r.id, v_now));
    IF code = 17 THEN
      code := admit_late_capture(r.account_id, r.id, r.amount, r.argument, free, v_now);
      r.id := late_capture_id(r.id);
    END IF;
    status[r.position] := code;
    IF code = 0 THEN
      IF r.kind = 2 THEN
        v_held := v_held + r.amount;
        dirty := true;
        h_account := h_account || r.account_id; h_id := h_id || r.id; h_amount := h_amount || r.amount;
        h_life := h_life || r.argument;
      ELSIF r.kind = 5 THEN
        w_account := w_account || r.account_id; w_id := w_id || r.id; w_life := w_life || r.argument;
      ELSE
        v_hold := coalesce(r.hold_amount, 0);
        IF v_hold > 0 THEN
          v_held := v_held - v_hold;
          d_account := d_account || r.account_id; d_id := d_id || r.id;
        END IF;
        IF r.kind = 4 THEN r.amount := 0; END IF;
        short := r.amount - free - v_hold;
        IF short > 0 THEN
          v_posted := v_posted + short;
          v_seq := v_seq + 1;
          t_account := t_account || r.account_id; t_id := t_id || new_id(v_now); t_seq := t_seq || v_seq;
          t_amount := t_amount || short; t_after := t_after || v_posted; t_hold := t_hold || 0::bigint;
          t_code := t_code || 12::smallint; t_contra := t_contra || 4::smallint;
          v_unburned := v_unburned - short;
        END IF;
        v_posted := v_posted - r.amount;
        v_unburned := v_unburned + r.amount;
        v_seq := v_seq + 1;
        dirty := true;
        t_account := t_account || r.account_id; t_id := t_id || r.id; t_seq := t_seq || v_seq;
        t_amount := t_amount || -r.amount; t_after := t_after || v_posted; t_hold := t_hold || v_hold;
        t_code := t_code || r.kind;
        t_contra := t_contra || CASE WHEN r.kind = 4 THEN 0::smallint ELSE 1::smallint END;
      END IF;
    END IF;
    available[r.position] := v_posted - v_held + r.credit_line;
  END LOOP;
  IF dirty THEN
    u_account := u_account || cur; u_posted := u_posted || v_posted; u_held := u_held || v_held;
    u_unburned := u_unburned || v_unburned; u_seq := u_seq || v_seq;
  END IF;

  IF cardinality(w_account) + cardinality(d_account) > 0 THEN
    PERFORM change_holds(w_account, w_id, w_life, d_account, d_id, v_now);
  END IF;
  IF cardinality(u_account) > 0 THEN
    IF cardinality(h_account) > 0 THEN
      INSERT INTO hold (account_id, id, amount, expires_at)
      SELECT h.account_id, h.id, h.amount, v_now + h.life * interval '1 millisecond'
      FROM unnest(h_account, h_id, h_amount, h_life) h(account_id, id, amount, life);
    END IF;
    IF cardinality(t_account) > 0 THEN
      INSERT INTO transfer
        (account_id, id, seq, amount, balance_after, hold_amount, created_at, code, contra)
      SELECT t.account_id, t.id, t.seq, t.amount, t.after, t.hold, v_now, t.code, t.contra
      FROM unnest(t_account, t_id, t_seq, t_amount, t_after, t_hold, t_code, t_contra)
        t(account_id, id, seq, amount, after, hold, code, contra);
    END IF;
    UPDATE account a SET posted = u.posted, held = u.held, unburned = u.unburned, seq = u.seq
    FROM unnest(u_account, u_posted, u_held, u_unburned, u_seq) u(account_id, posted, held, unburned, seq)
    WHERE a.account_id = u.account_id;
  END IF;
END $$;

-- The same for a single operation, at a third of the price of a batch of one.
CREATE FUNCTION apply_one(
  p_kind smallint, p_account bigint, p_id uuid, p_amount bigint, p_argument int, p_now timestamptz DEFAULT NULL,
  OUT status smallint, OUT available bigint
) LANGUAGE plpgsql
SET search_path FROM CURRENT SET enable_seqscan = off SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
  a account;
  v_now timestamptz;
  v_hold bigint;
  done record;
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
  SELECT amount INTO v_hold FROM hold WHERE account_id = p_account AND id = p_id;
  SELECT code, amount, hold_amount INTO done FROM transfer WHERE account_id = p_account AND id = p_id;
  available := a.posted - a.held + a.credit_line;
  status := admission(p_kind, p_amount, p_argument, a.frozen, available, v_hold, done.code, done.amount,
    done.hold_amount, (p_id >= id_at(v_now - interval '1 day') AND p_id < id_at(v_now + interval '5 minutes'))
      OR id_in_window(p_id, v_now));
  IF status = 17 THEN
    status := admit_late_capture(p_account, p_id, p_amount, p_argument, available, v_now);
    v_id := late_capture_id(p_id);
  END IF;
  IF status <> 0 THEN RETURN; END IF;

  IF p_kind = 2 THEN
    UPDATE account SET held = a.held + p_amount WHERE account_id = p_account;
    INSERT INTO hold (account_id, id, amount, expires_at)
    VALUES (p_account, p_id, p_amount, v_now + p_argument * interval '1 millisecond');
    available := available - p_amount;
  ELSIF p_kind = 5 THEN
    UPDATE hold SET expires_at = greatest(expires_at, v_now + p_argument * interval '1 millisecond')
    WHERE account_id = p_account AND id = p_id;
  ELSE
    v_hold := coalesce(v_hold, 0);
    IF v_hold > 0 THEN DELETE FROM hold WHERE account_id = p_account AND id = p_id; END IF;
    IF p_kind = 4 THEN v_amount := 0; END IF;
    short := greatest(v_amount - available - v_hold, 0);
    IF short > 0 THEN
      a := append_transfer(a, new_id(v_now), short, 12, 4, v_now);
    END IF;
    UPDATE account SET posted = a.posted - v_amount, held = a.held - v_hold,
      unburned = a.unburned + v_amount - short, seq = a.seq + 1
    WHERE account_id = p_account;
    INSERT INTO transfer (account_id, id, seq, amount, balance_after, hold_amount, created_at, code, contra)
    VALUES (p_account, v_id, a.seq + 1, -v_amount, a.posted - v_amount, v_hold, v_now, p_kind,
      CASE WHEN p_kind = 4 THEN 0 ELSE 1 END);
    available := a.posted - v_amount - a.held + v_hold + a.credit_line;
  END IF;
END $$;
