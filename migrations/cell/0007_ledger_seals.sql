-- Tamper evidence, off the hot path. The transfers of an account become visible in the order of its
-- gap-free sequence, because they are numbered under its lock; so "all up to number n" is closed for good as
-- soon as it is seen, and a window needs no guess about transactions that are still running.

CREATE TABLE seal (
  block bigint NOT NULL,
  previous bytea NOT NULL,
  hash bytea NOT NULL,
  accounts bigint NOT NULL,
  transfers bigint NOT NULL,
  sealed_at timestamptz NOT NULL,
  CONSTRAINT seal_pkey PRIMARY KEY (block)
);

-- One account's part of a block: the transfers after from_seq up to to_seq.
CREATE TABLE seal_entry (
  account_id bigint NOT NULL,
  block bigint NOT NULL,
  from_seq bigint NOT NULL,
  to_seq bigint NOT NULL,
  hash bytea NOT NULL,
  CONSTRAINT seal_entry_pkey PRIMARY KEY (account_id, block)
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

-- Everything that a transfer says, in one line.
CREATE FUNCTION transfer_line(t transfer) RETURNS text LANGUAGE sql STABLE AS $$
  SELECT concat_ws('|', t.account_id, t.id, t.seq, t.amount, t.balance_after, t.hold_amount, t.code, t.contra,
    (extract(epoch FROM t.created_at) * 1000000)::bigint)
$$;

CREATE FUNCTION seal_hash(p_previous bytea, p_block bigint, p_sealed_at timestamptz) RETURNS bytea
LANGUAGE sql STABLE AS $$
  SELECT sha256(p_previous || convert_to(
    concat_ws('|', p_block, (extract(epoch FROM p_sealed_at) * 1000000)::bigint) || E'\n'
      || coalesce(string_agg(concat_ws('|', account_id, from_seq, to_seq, encode(hash, 'hex')), E'\n'
        ORDER BY account_id), ''), 'UTF8'))
  FROM seal_entry WHERE block = p_block
$$;

-- Seals what is new of up to p_accounts accounts, and adds it to the totals of the system accounts. Returns
-- the number of transfers; zero means that there was nothing to seal and no block was written.
CREATE FUNCTION seal_window(
  p_accounts int DEFAULT 10000, p_now timestamptz DEFAULT NULL,
  OUT block bigint, OUT transfers bigint, OUT hash bytea
) LANGUAGE plpgsql SET search_path FROM CURRENT SET timezone = 'UTC' AS $$
DECLARE
  previous bytea;
  v_now timestamptz;
  v_block bigint;
BEGIN
  -- One sealer at a time; readers and the hot path never touch this table.
  LOCK TABLE seal IN SHARE ROW EXCLUSIVE MODE;
  v_now := coalesce(p_now, clock_timestamp());
  SELECT s.block, s.hash INTO v_block, previous FROM seal s ORDER BY s.block DESC LIMIT 1;
  v_block := coalesce(v_block, 0) + 1;
  previous := coalesce(previous, sha256('genesis'));

  -- One statement, one snapshot: the account's number and its rows belong together. A busy account takes
  -- several blocks, which bounds the text that is hashed at once.
  INSERT INTO seal_entry (account_id, block, from_seq, to_seq, hash)
  SELECT c.account_id, v_block, c.from_seq, c.from_seq + count(*),
    sha256(convert_to(string_agg(transfer_line(t), E'\n' ORDER BY t.seq), 'UTF8'))
  FROM (
    SELECT a.account_id, coalesce(p.seq, 0) AS from_seq, least(a.seq, coalesce(p.seq, 0) + 100000) AS to_seq
    FROM account a LEFT JOIN seal_position p ON p.account_id = a.account_id
    WHERE a.seq > coalesce(p.seq, 0) ORDER BY a.account_id LIMIT p_accounts
  ) c
  JOIN transfer t ON -t.account_id = -c.account_id AND t.seq > c.from_seq AND t.seq <= c.to_seq
  GROUP BY c.account_id, c.from_seq;
  SELECT coalesce(sum(e.to_seq - e.from_seq), 0) INTO transfers FROM seal_entry e WHERE e.block = v_block;
  IF transfers = 0 THEN RETURN; END IF;

  INSERT INTO contra_total AS c (environment, contra, day, amount, transfers)
  SELECT a.environment, t.contra, t.created_at::date, sum(t.amount), count(*)
  FROM seal_entry e
  JOIN account a ON a.account_id = e.account_id
  JOIN transfer t ON -t.account_id = -e.account_id AND t.seq > e.from_seq AND t.seq <= e.to_seq
  WHERE e.block = v_block AND t.contra <> 0
  GROUP BY 1, 2, 3
  ON CONFLICT (environment, contra, day)
  DO UPDATE SET amount = c.amount + excluded.amount, transfers = c.transfers + excluded.transfers;

  INSERT INTO seal_position (account_id, seq)
  SELECT e.account_id, e.to_seq FROM seal_entry e WHERE e.block = v_block
  ON CONFLICT (account_id) DO UPDATE SET seq = excluded.seq;

  block := v_block;
  hash := seal_hash(previous, v_block, v_now);
  INSERT INTO seal (block, previous, hash, accounts, transfers, sealed_at)
  SELECT v_block, previous, seal_window.hash, count(*), seal_window.transfers, v_now
  FROM seal_entry e WHERE e.block = v_block;
END $$;

-- Recomputes every block from the rows, and reports what does not fit. Months that were detached are no
-- longer here; their part of a block is taken from the stored hash, which the chain still covers.
CREATE FUNCTION verify_seals() RETURNS TABLE (problem text, account_id bigint, detail text)
LANGUAGE sql STABLE SET search_path FROM CURRENT AS $$
  WITH chain AS (
    SELECT s.*, lag(s.hash, 1, sha256('genesis')) OVER (ORDER BY s.block) AS expected_previous,
      row_number() OVER (ORDER BY s.block) AS expected_block
    FROM seal s
  ), entry AS (
    SELECT e.account_id, e.block, e.from_seq, e.to_seq, e.hash,
      lag(e.to_seq, 1, 0::bigint) OVER (PARTITION BY e.account_id ORDER BY e.block) AS expected_from
    FROM seal_entry e
  ), content AS (
    SELECT e.account_id, e.block, e.hash, e.to_seq - e.from_seq AS sealed,
      count(t.seq) AS present,
      sha256(convert_to(string_agg(transfer_line(t), E'\n' ORDER BY t.seq), 'UTF8')) AS actual,
      (SELECT coalesce(sum(upper(r) - lower(r)), 0) FROM (
         SELECT unnest(c.seqs * int8multirange(int8range(e.from_seq + 1, e.to_seq + 1))) AS r
         FROM checkpoint c WHERE c.account_id = e.account_id) detached) AS detached
    FROM entry e
    LEFT JOIN transfer t ON -t.account_id = -e.account_id AND t.seq > e.from_seq AND t.seq <= e.to_seq
    GROUP BY e.account_id, e.block, e.hash, e.from_seq, e.to_seq
  )
  SELECT 'chain broken', NULL::bigint, 'block ' || c.block
  FROM chain c
  WHERE c.block <> c.expected_block OR c.previous <> c.expected_previous
     OR c.hash <> seal_hash(c.previous, c.block, c.sealed_at)
  UNION ALL
  SELECT 'window not contiguous', e.account_id, 'block ' || e.block FROM entry e WHERE e.from_seq <> e.expected_from
  UNION ALL
  SELECT 'entry without block', e.account_id, 'block ' || e.block
  FROM entry e WHERE NOT EXISTS (SELECT FROM seal s WHERE s.block = e.block)
  UNION ALL
  SELECT CASE WHEN c.present + c.detached < c.sealed THEN 'transfers missing' ELSE 'transfers changed' END,
    c.account_id, 'block ' || c.block
  FROM content c
  WHERE c.present + c.detached <> c.sealed OR (c.detached = 0 AND c.actual IS DISTINCT FROM c.hash)
  UNION ALL
  SELECT 'blocks missing', p.account_id, 'sealed up to ' || p.seq
  FROM seal_position p
  LEFT JOIN (SELECT e.account_id, max(e.to_seq) AS seq FROM entry e GROUP BY e.account_id) m
    ON m.account_id = p.account_id
  WHERE m.seq IS DISTINCT FROM p.seq
$$;
