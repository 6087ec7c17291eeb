-- The hot path as before, at a smaller price per operation. The statement that locks an account also answers with its
-- balances, so that no second one has to find it, and each call looks only into the months of its own ids.

-- An account as it was locked.
CREATE TYPE account_state AS (
  account_id bigint, posted bigint, held bigint, unburned bigint, seq bigint, credit_line bigint, frozen boolean
);

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
  due timestamptz;
  id_from uuid;
  id_until uuid;
  search_from uuid;
  search_until uuid;
  code smallint;
  free bigint;
  short bigint;
  locked account_state[];
  next_locked int := 1;
  -- Accounts with ended credit that a hold protects. A hold that ends in this call sets it free, and the next
  -- item must find it gone: they are served one by one.
  one_by_one bigint[] := '{}';
  cur bigint;
  -- As it was locked; when it was not, another account or null.
  a account_state;
  apart boolean := true;
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

  -- Lock first and in the order of the accounts, so that calls never wait for each other in a circle. A filter around
  -- the locking would be pushed below it, and rows would go unlocked. Who waited for a lock gets the row as its earlier
  -- holder has left it, and nobody else can change it any more: these are the balances to go by.
  SELECT array_agg(ROW(l.account_id, l.posted, l.held, l.unburned, l.seq, l.credit_line, l.frozen)::account_state),
    min(l.next_due)
  INTO locked, due
  FROM (
    SELECT account_id, posted, held, unburned, seq, credit_line, frozen, next_due FROM account
    WHERE account_id = ANY (p_account) ORDER BY account_id FOR NO KEY UPDATE
  ) l;
  v_now := coalesce(p_now, clock_timestamp());
  IF due <= v_now THEN
    FOR r IN
      SELECT o.account_id FROM unnest(locked) l JOIN account o ON o.account_id = l.account_id
      WHERE o.next_due <= v_now ORDER BY o.account_id
    LOOP
      PERFORM end_due_grants(r.account_id, v_now);
    END LOOP;
    SELECT
      array_agg(ROW(o.account_id, o.posted, o.held, o.unburned, o.seq, o.credit_line, o.frozen)::account_state
        ORDER BY o.account_id),
      coalesce(array_agg(o.account_id) FILTER (WHERE o.next_due <= v_now), '{}')
    INTO locked, one_by_one
    FROM unnest(locked) l JOIN account o ON o.account_id = l.account_id;
  END IF;
  SELECT w.id_from, least(w.id_until, id_at(v_now + interval '5 minutes')), id_at(v_now - interval '1 day')
  INTO id_from, id_until, search_from
  FROM transfer_window w;
  -- Nearly always all ids are of today. With bounds that are known when it starts, the search below opens one month
  -- of the log, or two; without them all there are, at every call.
  search_until := id_until;
  IF (search_from <= ALL (p_id) AND search_until > ALL (p_id)) IS NOT TRUE THEN
    search_from := '00000000-0000-0000-0000-000000000000';
    search_until := 'ffffffff-ffff-ffff-ffff-ffffffffffff';
  END IF;

  -- A new statement reads what the earlier holders of the locks have committed. The rows come in the order of the
  -- locks, so the two lists are walked side by side. An account that was opened while we waited is in neither this
  -- call's locks nor, for this call, in the ledger.
  a := locked[1];
  FOR r IN
    SELECT q.kind, q.account_id, q.id, q.amount, q.argument, q.position::int AS position,
      q.id >= id_from AND q.id < id_until AS id_ok, h.amount AS hold_amount, h.lifetime_ms AS hold_lifetime,
      t.code AS done_code, t.amount AS done_amount, t.hold_amount AS done_hold, t.hold_lifetime_ms AS done_lifetime
    FROM unnest(p_kind, p_account, p_id, p_amount, p_argument)
      WITH ORDINALITY q(kind, account_id, id, amount, argument, position)
    LEFT JOIN hold h ON h.account_id = q.account_id AND h.id = q.id
    LEFT JOIN transfer t ON t.account_id = q.account_id AND t.id = q.id
      AND t.id >= search_from AND t.id < search_until
    ORDER BY q.account_id, q.position
  LOOP
    IF r.account_id IS DISTINCT FROM cur THEN
      IF v_seq <> a.seq OR v_held <> a.held THEN
        accounts := accounts || ROW(cur, v_posted, v_held, v_unburned, v_seq)::account_change;
      END IF;
      cur := r.account_id;
      WHILE a.account_id < cur LOOP next_locked := next_locked + 1; a := locked[next_locked]; END LOOP;
      apart := (a.account_id = cur) IS NOT TRUE OR cur = ANY (one_by_one);
      v_posted := a.posted; v_held := a.held; v_unburned := a.unburned; v_seq := a.seq;
    END IF;
    IF apart THEN
      IF a.account_id = cur THEN
        SELECT o.status, o.available INTO code, free
        FROM apply_one(r.kind, r.account_id, r.id, r.amount, r.argument, v_now) o;
        status[r.position] := code;
        available[r.position] := free;
      END IF;
      CONTINUE;
    END IF;
    free := v_posted - v_held + a.credit_line;
    code := admission(r.kind, r.amount, r.argument, a.frozen, free, r.hold_amount, r.hold_lifetime,
      r.done_code, r.done_amount, r.done_hold, r.done_lifetime, r.id_ok);
    IF code = -1 THEN
      code := admit_late_capture(r.account_id, r.id, r.amount, r.argument, free, v_now);
      r.id := late_capture_id(r.id);
    END IF;
    status[r.position] := code;
    IF code = 0 THEN
      IF r.kind = 2 THEN
        v_held := v_held + r.amount;
        placed := placed || ROW(r.account_id, r.id, r.amount, v_now + r.argument * interval '1 millisecond',
          r.argument)::hold;
      ELSIF r.kind = 5 THEN
        renewed := renewed || ROW(r.account_id, r.id, v_now + r.argument * interval '1 millisecond')::hold_change;
      ELSE
        IF r.hold_amount > 0 THEN
          v_held := v_held - r.hold_amount;
          ended := ended || ROW(r.account_id, r.id, v_now)::hold_change;
        END IF;
        IF r.kind = 4 THEN r.amount := 0; END IF;
        -- Only a permitted write-off is admitted without its money.
        IF r.argument = 2 THEN
          short := r.amount - free - coalesce(r.hold_amount, 0);
          IF short > 0 THEN
            v_posted := v_posted + short;
            v_seq := v_seq + 1;
            transfers := transfers
              || ROW(r.account_id, id_beside(r.id), v_seq, short, v_posted, 0, v_now, 0, 12, 4)::transfer;
            v_unburned := v_unburned - short;
          END IF;
        END IF;
        v_posted := v_posted - r.amount;
        v_unburned := v_unburned + r.amount;
        v_seq := v_seq + 1;
        transfers := transfers || ROW(r.account_id, r.id, v_seq, -r.amount, v_posted, coalesce(r.hold_amount, 0),
          v_now, coalesce(r.hold_lifetime, 0), r.kind, CASE WHEN r.kind = 4 THEN 0 ELSE 1 END)::transfer;
      END IF;
    END IF;
    available[r.position] := v_posted - v_held + a.credit_line;
  END LOOP;
  IF v_seq <> a.seq OR v_held <> a.held THEN
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
    UPDATE account o SET posted = c.posted, held = c.held, unburned = c.unburned, seq = c.seq
    FROM unnest(accounts) c WHERE o.account_id = c.account_id;
  END IF;
END $$;
