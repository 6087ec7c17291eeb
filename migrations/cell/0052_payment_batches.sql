-- Payments that come at the same moment share a call and a commit. Each is stored or credited as by a call of its own, one
-- after the other; all of them or, with an error, none. One array for each argument of the single call; the answers are in
-- the order of the arrays. Rows are locked in the order of single calls, payments before accounts, and each of these by id,
-- so that calls do not wait for each other in a circle. Whoever shares a call is not kept long by a lock that only one of them
-- needs: then the call as a whole is given up, and each can be made alone.
CREATE FUNCTION share_locks(p_items int) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  IF p_items > 1 THEN PERFORM set_config('lock_timeout', '300ms', true); END IF;
END $$;

CREATE FUNCTION open_payments(
  p_payment_id uuid[], p_account_id bigint[], p_environment text[], p_identity text[], p_source text[],
  p_facilitator text[], p_scheme text[], p_network text[], p_asset text[], p_pay_to text[], p_payer text[],
  p_amount_base_units numeric[], p_signed jsonb[], p_from_block bigint[], p_lease_ms bigint[], p_purpose jsonb[],
  p_max_reverted int[], p_window_ms float8[]
) RETURNS TABLE (created boolean, over_budget boolean) LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
  PERFORM share_locks(cardinality(p_payment_id));
  RETURN QUERY
    SELECT o.created, o.over_budget
    FROM (
      SELECT * FROM unnest(p_payment_id, p_account_id, p_environment, p_identity, p_source, p_facilitator, p_scheme,
          p_network, p_asset, p_pay_to, p_payer, p_amount_base_units, p_signed, p_from_block, p_lease_ms, p_purpose,
          p_max_reverted, p_window_ms) WITH ORDINALITY
        AS n (payment_id, account_id, environment, identity, source, facilitator, scheme, network, asset, pay_to,
          payer, amount_base_units, signed, from_block, lease_ms, purpose, max_reverted, window_ms, place)
      ORDER BY account_id, payment_id
    ) AS n
    CROSS JOIN LATERAL open_payment(n.payment_id, n.account_id, n.environment, n.identity, n.source, n.facilitator,
      n.scheme, n.network, n.asset, n.pay_to, n.payer, n.amount_base_units, n.signed, n.from_block, n.lease_ms,
      n.purpose, n.max_reverted, n.window_ms) AS o
    ORDER BY n.place;
END $$;

CREATE FUNCTION credit_payments(
  p_payment_id uuid[], p_account_id bigint[], p_amount bigint[], p_contra smallint[], p_transaction text[],
  p_log_index integer[], p_block_number bigint[], p_block_hash text[], p_first_check_ms bigint[], p_now timestamptz[]
) RETURNS TABLE (
  first boolean, again boolean, credited bigint, available bigint, transaction text, purpose_result jsonb
) LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
  PERFORM share_locks(cardinality(p_payment_id));
  PERFORM FROM payment p WHERE p.payment_id = ANY (p_payment_id) ORDER BY p.payment_id FOR NO KEY UPDATE;
  RETURN QUERY
    SELECT c.first, c.again, c.credited, c.available, c.transaction, c.purpose_result
    FROM (
      SELECT * FROM unnest(p_payment_id, p_account_id, p_amount, p_contra, p_transaction, p_log_index, p_block_number,
          p_block_hash, p_first_check_ms, p_now) WITH ORDINALITY
        AS n (payment_id, account_id, amount, contra, transaction, log_index, block_number, block_hash,
          first_check_ms, now, place)
      ORDER BY account_id, payment_id
    ) AS n
    CROSS JOIN LATERAL credit_payment(n.payment_id, n.amount, n.contra, n.transaction, n.log_index, n.block_number,
      n.block_hash, n.first_check_ms, n.now) AS c
    ORDER BY n.place;
END $$;
