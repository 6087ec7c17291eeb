-- Whoever reserved credit and never said what became of it is told that the reservation is over: `hold.expired`, in
-- the transaction that frees the credit. Only the sweep ends a hold by time. One that is past its time and not swept
-- yet is still captured and released as if nothing had happened, so there is nothing to tell; a capture after the
-- event is booked as ever (late_capture_id).
--
-- The hold of a sent top-up is left out. It is no reservation that its owner knows of; it outlives every top-up but
-- one that nobody could bring to its end for a day; and then `topup.failed` tells what became of the money, once.

-- As before (0006), and with the event. Ids of top-ups and holds are looked up by key, for what has expired alone.
-- Ends up to p_limit expired holds, of the months that the log has: no transfer could end another, and it would
-- stop the sweep of all (ledger_breaks reports it). With p_wait it waits for the account of the oldest one instead of
-- skipping it: an account that is never idle would otherwise never be swept.
CREATE OR REPLACE FUNCTION sweep_holds(
  p_limit int, p_wait boolean DEFAULT false, p_now timestamptz DEFAULT NULL, OUT ended int, OUT skipped int
) LANGUAGE plpgsql SET search_path FROM CURRENT
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off
AS $$
DECLARE
  v_now timestamptz := coalesce(p_now, clock_timestamp());
  w transfer_window;
  due_accounts bigint[];
  due_ids uuid[];
  locked bigint[] := '{}';
  found_due int;
  r record;
BEGIN
  SELECT * INTO w FROM transfer_window;
  SELECT array_agg(d.account_id), array_agg(d.id) INTO due_accounts, due_ids FROM (
    SELECT account_id, id FROM hold WHERE expires_at <= v_now AND id >= w.id_from AND id < w.id_until
    ORDER BY expires_at LIMIT CASE WHEN p_wait THEN 1 ELSE p_limit END) d;
  ended := 0; skipped := 0;
  IF due_accounts IS NULL THEN RETURN; END IF;
  found_due := cardinality(due_accounts);
  IF p_wait THEN
    PERFORM FROM account WHERE account_id = due_accounts[1] FOR NO KEY UPDATE;
    locked := due_accounts;
    SELECT array_agg(d.account_id), array_agg(d.id) INTO due_accounts, due_ids FROM (
      SELECT account_id, id FROM hold
      WHERE account_id = locked[1] AND expires_at <= v_now AND id >= w.id_from AND id < w.id_until
      LIMIT p_limit) d;
    found_due := coalesce(cardinality(due_accounts), 0);
  ELSE
    FOR r IN
      SELECT account_id FROM account WHERE account_id = ANY (due_accounts)
      ORDER BY account_id FOR NO KEY UPDATE SKIP LOCKED
    LOOP
      locked := locked || r.account_id;
    END LOOP;
  END IF;
  -- The transfers' time follows the lock, as everywhere.
  v_now := coalesce(p_now, clock_timestamp());

  WITH over AS (
    DELETE FROM hold h USING unnest(due_accounts, due_ids) d(account_id, id)
    WHERE h.account_id = d.account_id AND h.id = d.id AND h.expires_at <= v_now AND h.account_id = ANY (locked)
    RETURNING h.account_id, h.id, h.amount, h.lifetime_ms, h.expires_at
  ), numbered AS (
    SELECT o.account_id, o.id, o.amount, o.lifetime_ms, o.expires_at, a.posted, a.environment,
      a.seq + row_number() OVER (PARTITION BY o.account_id ORDER BY o.id) AS seq
    FROM over o JOIN account a ON a.account_id = o.account_id
  ), booked AS (
    INSERT INTO transfer
      (account_id, id, seq, amount, balance_after, hold_amount, created_at, hold_lifetime_ms, code, contra)
    SELECT account_id, id, seq, 0, posted, amount, v_now, lifetime_ms, 5, 0 FROM numbered
    RETURNING account_id, hold_amount
  ), told AS (
    INSERT INTO outbox (event_id, account_id, environment, type, payload)
    SELECT gen_random_uuid(), n.account_id, n.environment, 'hold.expired',
      jsonb_build_object('holdId', n.id, 'amountNanoUsd', n.amount::text, 'expiredAt', n.expires_at)
    FROM numbered n
    -- One key at a time: the planner may read the whole table for NOT EXISTS.
    WHERE (SELECT t.topup_id FROM topup t WHERE t.account_id = n.account_id AND t.topup_id = n.id) IS NULL
  ), per_account AS (
    SELECT account_id, sum(hold_amount) AS amount, count(*) AS holds FROM booked GROUP BY account_id
  ), updated AS (
    UPDATE account a SET held = a.held - p.amount, seq = a.seq + p.holds
    FROM per_account p WHERE a.account_id = p.account_id
    RETURNING p.holds
  )
  SELECT coalesce(sum(holds), 0) INTO ended FROM updated;
  skipped := found_due - ended;
END $$;
