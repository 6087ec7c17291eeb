-- What must be true of the books at every instant, each as a query for the rows that break it. One statement,
-- one snapshot: it may run beside full load, and an empty result is a proof for that moment.
CREATE FUNCTION ledger_breaks() RETURNS TABLE (problem text, account_id bigint, detail text)
LANGUAGE sql STABLE SET search_path FROM CURRENT AS $$
  WITH chained AS (
    SELECT t.account_id, t.id, t.seq, t.amount, t.balance_after, t.contra, t.code,
      lag(t.seq) OVER per_account AS before_seq,
      lag(t.balance_after) OVER per_account AS before
    FROM transfer t WINDOW per_account AS (PARTITION BY t.account_id ORDER BY t.seq)
  ), logged AS (
    SELECT c.account_id, sum(c.amount) AS amount, count(*) AS transfers, max(c.seq) AS seq
    FROM chained c GROUP BY c.account_id
  ), detached AS (
    SELECT k.account_id, sum(k.amount) AS amount, sum(k.transfers) AS transfers, range_agg(k.seqs) AS seqs
    FROM checkpoint k GROUP BY k.account_id
  ), open_holds AS (
    SELECT h.account_id, sum(h.amount) AS amount FROM hold h GROUP BY h.account_id
  ), credit AS (
    SELECT g.account_id, sum(g.remaining) AS remaining FROM credit_grant g GROUP BY g.account_id
  ), sealed AS (
    SELECT m.environment, m.contra, sum(m.amount) AS amount
    FROM (
      SELECT a.environment, t.contra, t.amount
      FROM transfer t
      JOIN account a ON a.account_id = t.account_id
      JOIN seal_position p ON p.account_id = t.account_id AND t.seq <= p.seq
      UNION ALL
      SELECT a.environment, k.contra, k.amount FROM checkpoint k JOIN account a ON a.account_id = k.account_id
    ) m
    WHERE m.contra <> 0
    GROUP BY 1, 2
  ), rolled_up AS (
    SELECT environment, contra, sum(amount) AS amount FROM contra_total GROUP BY 1, 2
  )
  SELECT 'balance is not the sum of its transfers', a.account_id,
    format('posted %s, sum %s', a.posted, coalesce(l.amount, 0) + coalesce(d.amount, 0))
  FROM account a LEFT JOIN logged l USING (account_id) LEFT JOIN detached d USING (account_id)
  WHERE a.posted <> coalesce(l.amount, 0) + coalesce(d.amount, 0)
  UNION ALL
  SELECT 'sequence has gaps', a.account_id,
    format('seq %s, transfers %s', a.seq, coalesce(l.transfers, 0) + coalesce(d.transfers, 0))
  FROM account a LEFT JOIN logged l USING (account_id) LEFT JOIN detached d USING (account_id)
  WHERE a.seq <> coalesce(l.transfers, 0) + coalesce(d.transfers, 0) OR a.seq < l.seq
  UNION ALL
  SELECT 'sequence number used twice', c.account_id, format('seq %s', c.seq)
  FROM chained c LEFT JOIN detached d USING (account_id)
  WHERE c.seq = c.before_seq OR c.seq < 1 OR d.seqs @> c.seq
  UNION ALL
  SELECT 'running balance does not follow', c.account_id, format('seq %s', c.seq)
  FROM chained c
  WHERE (c.before_seq = c.seq - 1 AND c.balance_after <> c.before + c.amount)
     OR (c.seq = 1 AND c.balance_after <> c.amount)
  UNION ALL
  SELECT 'last transfer is not the balance', a.account_id, format('seq %s', a.seq)
  FROM account a JOIN transfer t ON -t.account_id = -a.account_id AND t.seq = a.seq
  WHERE t.balance_after <> a.posted
  UNION ALL
  SELECT 'held is not the sum of open holds', a.account_id, format('held %s, holds %s', a.held, coalesce(h.amount, 0))
  FROM account a LEFT JOIN open_holds h USING (account_id) WHERE a.held <> coalesce(h.amount, 0)
  UNION ALL
  SELECT 'grants do not add up to the balance', a.account_id,
    format('posted %s, remaining %s, unburned %s', a.posted, coalesce(g.remaining, 0), a.unburned)
  FROM account a LEFT JOIN credit g USING (account_id)
  WHERE a.posted <> coalesce(g.remaining, 0) - a.unburned
  UNION ALL
  SELECT 'an open hold has already ended', h.account_id, h.id::text
  FROM hold h JOIN transfer t ON t.account_id = h.account_id AND t.id = h.id
  UNION ALL
  SELECT 'an open hold is outside the log and can never end', h.account_id, h.id::text
  FROM hold h CROSS JOIN transfer_window w WHERE h.id < w.id_from OR h.id >= w.id_until
  UNION ALL
  SELECT 'money of the other environment', a.account_id, format('contra %s', c.contra)
  FROM account a JOIN (
    SELECT c.account_id, c.contra FROM chained c WHERE c.contra BETWEEN 100 AND 299
    UNION
    SELECT k.account_id, k.contra FROM checkpoint k WHERE k.contra BETWEEN 100 AND 299) c
    USING (account_id)
  WHERE (c.contra < 200) <> (a.environment = 'live')
  UNION ALL
  SELECT 'rows without an account', o.account_id, o.what
  FROM (SELECT l.account_id, 'transfer' AS what FROM logged l
        UNION ALL SELECT h.account_id, 'hold' FROM open_holds h
        UNION ALL SELECT g.account_id, 'grant' FROM credit g) o
  WHERE NOT EXISTS (SELECT FROM account a WHERE a.account_id = o.account_id)
  UNION ALL
  SELECT 'system account is not the sum of its transfers', NULL,
    format('%s contra %s: rolled up %s, sealed %s', r.environment, r.contra, r.amount, s.amount)
  FROM rolled_up r FULL JOIN sealed s USING (environment, contra)
  WHERE r.amount IS DISTINCT FROM s.amount
  UNION ALL
  SELECT 'debits and credits differ', NULL, format('%s: customers %s, system %s', b.environment, b.customers, b.system)
  FROM (
    SELECT a.environment, sum(a.posted) AS customers, -coalesce(sum(u.amount), 0) - coalesce((
      SELECT sum(r.amount) FROM rolled_up r WHERE r.environment = a.environment), 0) AS system
    FROM account a
    LEFT JOIN (
      SELECT c.account_id, sum(c.amount) AS amount FROM chained c
      LEFT JOIN seal_position p ON p.account_id = c.account_id
      WHERE c.seq > coalesce(p.seq, 0) GROUP BY c.account_id
    ) u ON u.account_id = a.account_id
    GROUP BY a.environment
  ) b
  WHERE b.customers + b.system <> 0
$$;

-- The system accounts now: what is rolled up, and the transfers that are not sealed yet. A credit to
-- customers is a debit here, so the signs are turned.
CREATE FUNCTION system_balances() RETURNS TABLE (environment text, contra smallint, amount numeric)
LANGUAGE sql STABLE SET search_path FROM CURRENT AS $$
  SELECT m.environment, m.contra, -sum(m.amount) FROM (
    SELECT c.environment, c.contra, c.amount FROM contra_total c
    UNION ALL
    SELECT a.environment, t.contra, t.amount
    FROM account a
    LEFT JOIN seal_position p ON p.account_id = a.account_id
    JOIN transfer t ON -t.account_id = -a.account_id AND t.seq > coalesce(p.seq, 0)
    WHERE a.seq > coalesce(p.seq, 0) AND t.contra <> 0
  ) m GROUP BY m.environment, m.contra
$$;
