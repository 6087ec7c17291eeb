-- A replica's clock may be behind that of the one which sold a plan, so a plan's first period may be about to begin.
-- Its agent is one all the same: it was told that no agent is there.
CREATE OR REPLACE FUNCTION agent_state(p_account bigint, p_now timestamptz) RETURNS TABLE (
  plan text, frequency text, last_payment_at timestamptz, active_until timestamptz, active boolean,
  available bigint, credit_limit bigint
) LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
  IF EXISTS (SELECT FROM plan_period s WHERE s.account_id = p_account AND s.due_at <= p_now) THEN
    PERFORM advance_agent(p_account, p_now);
  ELSE
    PERFORM touch_account(p_account);
  END IF;
  RETURN QUERY
    SELECT newest.plan, newest.frequency, g.last_payment_at, cover.until, cover.until > p_now,
      a.posted - a.held + a.credit_line, g.credit_limit
    FROM agent g JOIN account a ON a.account_id = g.account_id
    CROSS JOIN LATERAL (SELECT max(s.ends_at) AS until FROM plan_period s WHERE s.account_id = p_account) cover
    CROSS JOIN LATERAL (
      -- The period that runs; when none does, the one that ended last; when none has begun, the first to come.
      SELECT s.plan, s.frequency FROM plan_period s WHERE s.account_id = p_account
      ORDER BY s.starts_at > p_now, abs(extract(epoch FROM s.starts_at - p_now)), s.ends_at DESC LIMIT 1) newest
    WHERE g.account_id = p_account;
END $$;
