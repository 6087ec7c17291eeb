-- Months leave the log in two steps, oldest first. Closing stops new rows for a moment of a table lock; detaching
-- then has all the time it needs, because the month cannot change any more. Both take a table lock at their end:
-- whoever arrives after them waits as long as they do, so they wait for two seconds and then fail, to be repeated.

-- Closes the oldest month for new ids. Answers why not, if not: it must be over for at least a month, and no
-- open hold may still need it for its end.
CREATE FUNCTION close_transfer_month(p_month date, p_now timestamptz DEFAULT NULL) RETURNS text
LANGUAGE plpgsql SET search_path FROM CURRENT SET timezone = 'UTC' SET lock_timeout = '2s' AS $$
DECLARE
  first_day timestamptz := date_trunc('month', p_month);
  first_id uuid := id_at(first_day);
  end_id uuid := id_at(first_day + interval '1 month');
BEGIN
  LOCK TABLE transfer_window IN SHARE ROW EXCLUSIVE MODE;
  IF NOT EXISTS (SELECT FROM transfer_window WHERE id_from = first_id) THEN
    RETURN 'not the oldest month';
  END IF;
  IF first_day + interval '2 months' > coalesce(p_now, clock_timestamp()) THEN RETURN 'too recent'; END IF;
  -- Waits for the calls that read the old window, and holds new ones up until the new window is committed. They
  -- lock rows of account, and only this mode and the strongest conflict with that.
  LOCK TABLE account IN EXCLUSIVE MODE;
  IF EXISTS (SELECT FROM hold WHERE id >= first_id AND id < end_id) THEN RETURN 'open holds'; END IF;
  -- A payment's credit carries the payment's id, so its month stays until the chain has told.
  IF EXISTS (
    SELECT FROM payment WHERE payment_id >= first_id AND payment_id < end_id
      AND (state IN ('settling', 'pending') OR (state = 'failed' AND reason = 'reverted'))
  ) THEN RETURN 'open payments'; END IF;
  UPDATE transfer_window SET id_from = end_id;
  RETURN 'closed';
END $$;

-- Takes a closed month out of the log, after writing down what it contained and sealing that. The table stays
-- beside the log until an operator has archived and dropped it.
CREATE FUNCTION detach_transfer_month(p_month date, p_now timestamptz DEFAULT NULL) RETURNS text
LANGUAGE plpgsql SET search_path FROM CURRENT SET timezone = 'UTC' SET lock_timeout = '2s' AS $$
DECLARE
  first_day timestamptz := date_trunc('month', p_month);
  first_id uuid := id_at(first_day);
  end_id uuid := id_at(first_day + interval '1 month');
  v_now timestamptz;
  newest record;
  part text := 'transfer_' || to_char(p_month, 'YYYY_MM');
BEGIN
  LOCK TABLE transfer_window IN SHARE ROW EXCLUSIVE MODE;
  LOCK TABLE seal IN SHARE ROW EXCLUSIVE MODE;
  v_now := coalesce(p_now, clock_timestamp());
  IF NOT EXISTS (SELECT FROM transfer_window WHERE id_from >= end_id) THEN RETURN 'not closed'; END IF;
  IF NOT EXISTS (SELECT FROM pg_inherits WHERE inhrelid = to_regclass(part) AND inhparent = 'transfer'::regclass)
  THEN
    RETURN 'not attached';
  END IF;
  IF EXISTS (
    SELECT FROM transfer t LEFT JOIN seal_position p ON p.account_id = t.account_id
    WHERE t.id >= first_id AND t.id < end_id AND t.seq > coalesce(p.seq, 0)
  ) THEN
    RETURN 'not sealed';
  END IF;
  -- The last moment at which an edit can be told from the rows: the checkpoint would make it good.
  IF EXISTS (SELECT FROM changed_since_sealed(first_day::date)) THEN RETURN 'changed since it was sealed'; END IF;
  INSERT INTO checkpoint (account_id, month, contra, transfers, amount, seqs, created_at)
  SELECT t.account_id, first_day::date, t.contra, count(*), sum(t.amount),
    range_agg(int8range(t.seq, t.seq, '[]')), v_now
  FROM transfer t WHERE t.id >= first_id AND t.id < end_id GROUP BY t.account_id, t.contra;
  newest := newest_seal();
  PERFORM append_seal(newest.block + 1, newest.hash, first_day::date, v_now);
  EXECUTE format('ALTER TABLE transfer DETACH PARTITION %I', part);
  EXECUTE format('CREATE TRIGGER transfer_append_only BEFORE UPDATE OR DELETE ON %I
    FOR EACH ROW EXECUTE FUNCTION refuse_change()', part);
  RETURN 'detached';
END $$;
