-- Tamper evidence, off the hot path. The transfers of an account become visible in the order of its
-- gap-free sequence, because they are numbered under its lock; so "all up to number n" is closed for good as
-- soon as it is seen, and a window needs no guess about transactions that are still running.

CREATE TABLE seal (
  block bigint NOT NULL,
  previous bytea NOT NULL,
  hash bytea NOT NULL,
  accounts bigint NOT NULL,
  transfers bigint NOT NULL,
  -- Set on the block of a month that was detached: it covers the checkpoints of the month and no transfers.
  checkpoint_month date,
  sealed_at timestamptz NOT NULL,
  CONSTRAINT seal_pkey PRIMARY KEY (block)
);

-- One account's part of a block: of its transfers after from_seq up to to_seq, those of one month. A hold that is
-- captured in the next month is booked in its own, so the transfers of a window may be spread over two months; an
-- entry for each lets the rest be checked when one month has left the log.
CREATE TABLE seal_entry (
  account_id bigint NOT NULL,
  block bigint NOT NULL,
  month date NOT NULL,
  from_seq bigint NOT NULL,
  to_seq bigint NOT NULL,
  transfers bigint NOT NULL,
  hash bytea NOT NULL,
  CONSTRAINT seal_entry_pkey PRIMARY KEY (account_id, block, month)
);

CREATE INDEX seal_entry_block_idx ON seal_entry (block);

-- How far each account is sealed; only a shortcut, the entries say the same.
CREATE TABLE seal_position (
  account_id bigint NOT NULL,
  seq bigint NOT NULL,
  CONSTRAINT seal_position_pkey PRIMARY KEY (account_id)
);

-- The system accounts: what the sealed transfers moved, by day, seen from the customers' side.
CREATE TABLE contra_total (
  environment text NOT NULL,
  contra smallint NOT NULL,
  day date NOT NULL,
  amount numeric NOT NULL,
  transfers bigint NOT NULL,
  CONSTRAINT contra_total_pkey PRIMARY KEY (environment, contra, day)
);

CREATE TRIGGER seal_append_only BEFORE UPDATE OR DELETE ON seal
  FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER seal_no_truncate BEFORE TRUNCATE ON seal
  FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER seal_entry_append_only BEFORE UPDATE OR DELETE ON seal_entry
  FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER seal_entry_no_truncate BEFORE TRUNCATE ON seal_entry
  FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- What is written down beside a transfer and never changes: who ordered a correction and why, the terms of a grant.
CREATE FUNCTION terms_line(p_account bigint, p_id uuid) RETURNS text LANGUAGE sql STABLE AS $$
  SELECT concat_ws(' ',
    (SELECT jsonb_build_array(o.action, o.original_id, o.contra, o.amount, o.uncollected, o.reason, o.actor,
       extract(epoch FROM o.created_at))::text
     FROM operator_action o WHERE o.account_id = p_account AND o.id = p_id),
    (SELECT jsonb_build_array(g.source, g.contra, g.amount, g.priority, extract(epoch FROM g.created_at),
       extract(epoch FROM g.expires_at)::text)::text
     FROM credit_grant g WHERE g.account_id = p_account AND g.id = p_id))
$$;

-- Everything that a transfer says, in one line. Only codes from 6 on have terms, and what is spent has none: the
-- look-ups stand apart so that the rest is inlined and costs no call.
CREATE FUNCTION transfer_line(t transfer) RETURNS text LANGUAGE sql STABLE AS $$
  SELECT concat_ws('|', t.account_id, t.id, t.seq, t.amount, t.balance_after, t.hold_amount, t.hold_lifetime_ms,
    t.code, t.contra, (extract(epoch FROM t.created_at) * 1000000)::bigint,
    CASE WHEN t.code >= 6 THEN terms_line(t.account_id, t.id) END)
$$;

-- One hash of all checkpoints of a month, by groups of accounts, so that no text grows beyond bounds.
CREATE FUNCTION checkpoint_hash(p_month date) RETURNS text LANGUAGE sql STABLE AS $$
  SELECT encode(sha256(convert_to(coalesce(string_agg(g.hash, E'\n' ORDER BY g.first), ''), 'UTF8')), 'hex')
  FROM (
    SELECT c.account_id / 10000 AS first, encode(sha256(convert_to(string_agg(
        concat_ws('|', c.account_id, c.month, c.contra, c.transfers, c.amount, c.seqs,
          (extract(epoch FROM c.created_at) * 1000000)::bigint),
        E'\n' ORDER BY c.account_id, c.contra), 'UTF8')), 'hex') AS hash
    FROM checkpoint c WHERE c.month = p_month GROUP BY 1
  ) g
$$;

CREATE FUNCTION seal_hash(p_previous bytea, p_block bigint, p_checkpoint_month date, p_sealed_at timestamptz)
RETURNS bytea LANGUAGE sql STABLE AS $$
  SELECT sha256(p_previous || convert_to(
    concat_ws('|', p_block, (extract(epoch FROM p_sealed_at) * 1000000)::bigint,
      p_checkpoint_month, CASE WHEN p_checkpoint_month IS NOT NULL THEN checkpoint_hash(p_checkpoint_month) END)
      || E'\n' || coalesce(string_agg(
        concat_ws('|', account_id, month, from_seq, to_seq, transfers, encode(hash, 'hex')), E'\n'
        ORDER BY account_id, month), ''), 'UTF8'))
  FROM seal_entry WHERE block = p_block
$$;

-- Adds the block of the entries that carry its number, or of a month's checkpoints. The caller has locked `seal`.
CREATE FUNCTION append_seal(
  p_block bigint, p_previous bytea, p_checkpoint_month date, p_now timestamptz, OUT hash bytea
) LANGUAGE plpgsql AS $$
BEGIN
  hash := seal_hash(p_previous, p_block, p_checkpoint_month, p_now);
  INSERT INTO seal (block, previous, hash, accounts, transfers, checkpoint_month, sealed_at)
  SELECT p_block, p_previous, append_seal.hash, count(DISTINCT e.account_id), coalesce(sum(e.transfers), 0),
    p_checkpoint_month, p_now
  FROM seal_entry e WHERE e.block = p_block;
END $$;

-- Number and hash of the block that comes before the next one.
CREATE FUNCTION newest_seal(OUT block bigint, OUT hash bytea) LANGUAGE sql STABLE AS $$
  SELECT coalesce(max(s.block), 0), coalesce((
    SELECT h.hash FROM seal h ORDER BY h.block DESC LIMIT 1), sha256('genesis'))
  FROM seal s
$$;

-- Seals what is new of up to p_accounts accounts, and adds it to the totals of the system accounts. Returns
-- the number of transfers; zero means that there was nothing to seal and no block was written.
CREATE FUNCTION seal_window(
  p_accounts int DEFAULT 10000, p_now timestamptz DEFAULT NULL,
  OUT block bigint, OUT transfers bigint, OUT hash bytea, OUT accounts bigint
) LANGUAGE plpgsql SET search_path FROM CURRENT SET timezone = 'UTC' AS $$
DECLARE
  newest record;
  v_now timestamptz;
  v_block bigint;
  last_account bigint;
BEGIN
  -- One sealer at a time; readers and the hot path never touch this table.
  LOCK TABLE seal IN SHARE ROW EXCLUSIVE MODE;
  v_now := coalesce(p_now, clock_timestamp());
  newest := newest_seal();
  v_block := newest.block + 1;
  -- Goes on after the last account of the block before: from the lowest on every time, more busy accounts than fit
  -- into a block would keep the rest from ever being sealed.
  SELECT coalesce(max(e.account_id), 0) INTO last_account FROM seal_entry e WHERE e.block = newest.block;

  -- One statement, one snapshot: the account's number and its rows belong together. A busy account takes
  -- several blocks, which bounds the text that is hashed at once.
  INSERT INTO seal_entry (account_id, block, month, from_seq, to_seq, transfers, hash)
  SELECT c.account_id, v_block, id_month(t.id), c.from_seq, c.to_seq, count(*),
    sha256(convert_to(string_agg(transfer_line(t), E'\n' ORDER BY t.seq), 'UTF8'))
  FROM (
    SELECT a.account_id, coalesce(p.seq, 0) AS from_seq, least(a.seq, coalesce(p.seq, 0) + 100000) AS to_seq
    FROM account a LEFT JOIN seal_position p ON p.account_id = a.account_id
    WHERE a.seq > coalesce(p.seq, 0) ORDER BY a.account_id <= last_account, a.account_id LIMIT p_accounts
  ) c
  JOIN transfer t ON -t.account_id = -c.account_id AND t.seq > c.from_seq AND t.seq <= c.to_seq
  GROUP BY c.account_id, c.from_seq, c.to_seq, id_month(t.id);
  SELECT coalesce(sum(e.transfers), 0), count(DISTINCT e.account_id) INTO transfers, accounts
  FROM seal_entry e WHERE e.block = v_block;
  IF transfers = 0 THEN RETURN; END IF;

  INSERT INTO contra_total AS c (environment, contra, day, amount, transfers)
  SELECT a.environment, t.contra, t.created_at::date, sum(t.amount), count(*)
  FROM (SELECT DISTINCT e.account_id, e.from_seq, e.to_seq FROM seal_entry e WHERE e.block = v_block) w
  JOIN account a ON a.account_id = w.account_id
  JOIN transfer t ON -t.account_id = -w.account_id AND t.seq > w.from_seq AND t.seq <= w.to_seq
  WHERE t.contra <> 0
  GROUP BY 1, 2, 3
  ON CONFLICT (environment, contra, day)
  DO UPDATE SET amount = c.amount + excluded.amount, transfers = c.transfers + excluded.transfers;

  INSERT INTO seal_position (account_id, seq)
  SELECT DISTINCT e.account_id, e.to_seq FROM seal_entry e WHERE e.block = v_block
  ON CONFLICT (account_id) DO UPDATE SET seq = excluded.seq;

  block := v_block;
  hash := append_seal(v_block, newest.hash, NULL, v_now);
END $$;

-- Entries whose transfers are not what was sealed, of one month or of all that are still in the log.
CREATE FUNCTION changed_since_sealed(p_month date DEFAULT NULL)
RETURNS TABLE (account_id bigint, block bigint, transfers bigint, present bigint)
LANGUAGE sql STABLE AS $$
  SELECT e.account_id, e.block, e.transfers, count(t.seq)
  FROM seal_entry e
  LEFT JOIN transfer t ON -t.account_id = -e.account_id AND t.seq > e.from_seq AND t.seq <= e.to_seq
    AND t.id >= id_at(e.month::timestamp AT TIME ZONE 'UTC')
    AND t.id < id_at((e.month + interval '1 month') AT TIME ZONE 'UTC')
  WHERE (p_month IS NULL OR e.month = p_month)
    AND NOT EXISTS (SELECT FROM checkpoint k WHERE k.account_id = e.account_id AND k.month = e.month)
  GROUP BY e.account_id, e.block, e.month, e.hash, e.transfers
  HAVING count(t.seq) <> e.transfers
    OR sha256(convert_to(string_agg(transfer_line(t), E'\n' ORDER BY t.seq), 'UTF8')) IS DISTINCT FROM e.hash
$$;

-- Recomputes every block from the rows, and reports what does not fit. The transfers of a month that was detached
-- are no longer here: their hashes are covered by the chain, and their number must be what the checkpoint says.
CREATE FUNCTION verify_seals() RETURNS TABLE (problem text, account_id bigint, detail text)
LANGUAGE sql STABLE SET search_path FROM CURRENT AS $$
  WITH chain AS (
    SELECT s.*, lag(s.hash, 1, sha256('genesis')) OVER (ORDER BY s.block) AS expected_previous,
      row_number() OVER (ORDER BY s.block) AS expected_block
    FROM seal s
  ), part AS (
    SELECT e.account_id, e.block, e.from_seq, e.to_seq, sum(e.transfers) AS transfers
    FROM seal_entry e GROUP BY e.account_id, e.block, e.from_seq, e.to_seq
  ), contiguous AS (
    SELECT p.*, lag(p.to_seq, 1, 0::bigint) OVER (PARTITION BY p.account_id ORDER BY p.block, p.from_seq) AS expected_from
    FROM part p
  ), detached AS (
    SELECT c.account_id, c.month, sum(c.transfers) AS transfers FROM checkpoint c GROUP BY c.account_id, c.month
  ), sealed_month AS (
    SELECT e.account_id, e.month, sum(e.transfers) AS transfers FROM seal_entry e GROUP BY e.account_id, e.month
  )
  SELECT 'chain broken', NULL::bigint, 'block ' || c.block
  FROM chain c
  WHERE c.block <> c.expected_block OR c.previous <> c.expected_previous
     OR c.hash <> seal_hash(c.previous, c.block, c.checkpoint_month, c.sealed_at)
  UNION ALL
  SELECT 'window not contiguous', c.account_id, 'block ' || c.block
  FROM contiguous c WHERE c.from_seq <> c.expected_from OR c.transfers <> c.to_seq - c.from_seq
  UNION ALL
  SELECT 'entry without block', p.account_id, 'block ' || p.block
  FROM part p WHERE NOT EXISTS (SELECT FROM seal s WHERE s.block = p.block)
  UNION ALL
  SELECT CASE WHEN c.present < c.transfers THEN 'transfers missing' ELSE 'transfers changed' END,
    c.account_id, 'block ' || c.block
  FROM changed_since_sealed() c
  UNION ALL
  SELECT 'checkpoint is not what was sealed', d.account_id, 'month ' || d.month
  FROM detached d LEFT JOIN sealed_month m USING (account_id, month) WHERE m.transfers IS DISTINCT FROM d.transfers
  UNION ALL
  SELECT 'checkpoint without block', NULL, 'month ' || m.month
  FROM (SELECT DISTINCT c.month FROM checkpoint c) m
  WHERE NOT EXISTS (SELECT FROM seal s WHERE s.checkpoint_month = m.month)
  UNION ALL
  SELECT 'blocks missing', p.account_id, 'sealed up to ' || p.seq
  FROM seal_position p
  LEFT JOIN (SELECT e.account_id, max(e.to_seq) AS seq FROM seal_entry e GROUP BY e.account_id) m
    ON m.account_id = p.account_id
  WHERE m.seq IS DISTINCT FROM p.seq
$$;
