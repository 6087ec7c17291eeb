-- A payment with the balances that its credit leaves.
CREATE TYPE plain_credit AS (
  place bigint, payment_id uuid, account_id bigint, environment text, network text, source text, amount bigint,
  contra smallint, transaction text, log_index integer, block_number bigint, block_hash text, first_check_ms bigint,
  seq bigint, posted bigint, available bigint
);

-- Nearly every payment that is credited is plain: it is open, buys nothing and was never reversed, and its account has no
-- credit with an end, nothing to burn, and no second payment in the same call. Such payments are credited together, each
-- table written once; what is decided and written is what credit_payment does for each. The caller holds the locks of
-- payments and accounts. Whatever is not plain, for whatever reason, is not touched and not answered.
-- @returns the place of each payment that was credited, and the credit that is available then
CREATE FUNCTION credit_plain_payments(
  p_payment_id uuid[], p_account_id bigint[], p_amount bigint[], p_contra smallint[], p_transaction text[],
  p_log_index integer[], p_block_number bigint[], p_block_hash text[], p_first_check_ms bigint[]
) RETURNS TABLE (place bigint, available bigint) LANGUAGE plpgsql
SET search_path FROM CURRENT
-- A plan made while the tables are small must stay good when they have grown: by key, row by row.
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET enable_material = off
SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
  v_now timestamptz := clock_timestamp();
  plain plain_credit[];
BEGIN
  PERFORM warn_off_cell_node();
  SELECT array_agg(ROW(n.place, n.payment_id, p.account_id, p.environment, p.network, p.source, n.amount, n.contra,
    n.transaction, n.log_index, n.block_number, n.block_hash, n.first_check_ms, a.seq + 1, a.posted + n.amount,
    a.posted + n.amount - a.held + a.credit_line)::plain_credit)
  INTO plain
  FROM unnest(p_payment_id, p_account_id, p_amount, p_contra, p_transaction, p_log_index, p_block_number, p_block_hash,
      p_first_check_ms) WITH ORDINALITY
    AS n (payment_id, account_id, amount, contra, transaction, log_index, block_number, block_hash, first_check_ms,
      place)
  JOIN payment p ON p.payment_id = n.payment_id AND p.account_id = n.account_id
  JOIN account a ON a.account_id = n.account_id
  WHERE p.state IN ('settling', 'pending') AND p.purpose IS NULL AND p.reversals = 0 AND p.written_off_nano_usd = 0
    AND a.unburned = 0 AND a.next_due = 'infinity'
    AND cardinality(array_positions(p_account_id, n.account_id)) = 1
    -- What add_grant asks of a new grant.
    AND n.amount > 0 AND NOT exceeds_capacity(a, n.amount)
    AND id_in_window(n.payment_id, v_now)
    AND refuse_contra(n.contra, a.environment) IS NULL
    AND NOT EXISTS (SELECT FROM transfer t WHERE t.account_id = n.account_id AND t.id = n.payment_id)
    AND NOT EXISTS (SELECT FROM hold h WHERE h.account_id = n.account_id AND h.id = n.payment_id)
    AND NOT EXISTS (SELECT FROM operator_action o WHERE o.account_id = n.account_id AND o.id = n.payment_id);
  IF plain IS NULL THEN RETURN; END IF;
  INSERT INTO credit_grant
    (account_id, id, source, contra, amount, remaining, priority, created_at, expires_at, ends_at)
  SELECT c.account_id, c.payment_id, 'paid', c.contra, c.amount, c.amount, 50, v_now, 'infinity', 'infinity'
  FROM unnest(plain) c;
  INSERT INTO transfer
    (account_id, id, seq, amount, balance_after, hold_amount, created_at, hold_lifetime_ms, code, contra)
  SELECT c.account_id, c.payment_id, c.seq, c.amount, c.posted, 0, v_now, 0, 6, c.contra FROM unnest(plain) c;
  UPDATE account a SET posted = c.posted, seq = c.seq FROM unnest(plain) c WHERE a.account_id = c.account_id;
  UPDATE payment p SET state = 'credited', reason = NULL, transaction = c.transaction, log_index = c.log_index,
    block_number = c.block_number, block_hash = c.block_hash, credited_nano_usd = c.amount,
    available_nano_usd = c.available, grant_id = c.payment_id, attempts = 0,
    due_at = now() + c.first_check_ms * interval '1 ms', updated_at = now()
  FROM unnest(plain) c WHERE p.payment_id = c.payment_id;
  INSERT INTO outbox (event_id, account_id, environment, type, payload)
  SELECT gen_random_uuid(), c.account_id, c.environment, 'payment.credited',
    jsonb_build_object('paymentId', c.payment_id, 'network', c.network, 'transaction', c.transaction,
      'amountNanoUsd', c.amount::text, 'source', c.source)
  FROM unnest(plain) c;
  RETURN QUERY SELECT c.place, c.available FROM unnest(plain) c;
END $$;

-- As before, the plain ones together and then the others, each by a call of its own.
CREATE OR REPLACE FUNCTION credit_payments(
  p_payment_id uuid[], p_account_id bigint[], p_amount bigint[], p_contra smallint[], p_transaction text[],
  p_log_index integer[], p_block_number bigint[], p_block_hash text[], p_first_check_ms bigint[], p_now timestamptz[]
) RETURNS TABLE (
  first boolean, again boolean, credited bigint, available bigint, transaction text, purpose_result jsonb
) LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
  v_done bigint[];
  v_available bigint[];
BEGIN
  PERFORM share_locks(cardinality(p_payment_id));
  PERFORM FROM payment p WHERE p.payment_id = ANY (p_payment_id) ORDER BY p.payment_id FOR NO KEY UPDATE;
  PERFORM FROM account a WHERE a.account_id = ANY (p_account_id) ORDER BY a.account_id FOR NO KEY UPDATE;
  SELECT coalesce(array_agg(c.place), '{}'), coalesce(array_agg(c.available), '{}') INTO v_done, v_available
  FROM credit_plain_payments(p_payment_id, p_account_id, p_amount, p_contra, p_transaction, p_log_index,
    p_block_number, p_block_hash, p_first_check_ms) c;
  RETURN QUERY
    SELECT r.first, r.again, r.credited, r.available, r.transaction, r.purpose_result
    FROM (
      SELECT d.place, true AS first, false AS again, p_amount[d.place] AS credited, d.available,
        p_transaction[d.place] AS transaction, NULL::jsonb AS purpose_result
      FROM unnest(v_done, v_available) AS d (place, available)
      UNION ALL
      SELECT n.place, c.first, c.again, c.credited, c.available, c.transaction, c.purpose_result
      FROM (
        SELECT * FROM unnest(p_payment_id, p_account_id, p_amount, p_contra, p_transaction, p_log_index,
            p_block_number, p_block_hash, p_first_check_ms, p_now) WITH ORDINALITY
          AS n (payment_id, account_id, amount, contra, transaction, log_index, block_number, block_hash,
            first_check_ms, now, place)
        WHERE n.place <> ALL (v_done)
        ORDER BY account_id, payment_id
      ) AS n
      CROSS JOIN LATERAL credit_payment(n.payment_id, n.amount, n.contra, n.transaction, n.log_index, n.block_number,
        n.block_hash, n.first_check_ms, n.now) AS c
    ) AS r
    ORDER BY r.place;
END $$;

-- The same for new payments: plain is what buys nothing, whose account is there and whose wallet is within its budget.
-- @returns the place of each payment that was stored
CREATE FUNCTION open_plain_payments(
  p_payment_id uuid[], p_account_id bigint[], p_environment text[], p_identity text[], p_source text[],
  p_facilitator text[], p_scheme text[], p_network text[], p_asset text[], p_pay_to text[], p_payer text[],
  p_amount_base_units numeric[], p_signed jsonb[], p_from_block bigint[], p_lease_ms bigint[], p_purpose jsonb[],
  p_max_reverted int[], p_window_ms float8[]
) RETURNS TABLE (place int) LANGUAGE plpgsql
SET search_path FROM CURRENT
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET enable_material = off
SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
  v_now timestamptz := clock_timestamp();
BEGIN
  RETURN QUERY
    INSERT INTO payment AS stored (payment_id, account_id, environment, identity, source, facilitator, scheme, network,
      asset, pay_to, payer, amount_base_units, signed, state, from_block, due_at)
    SELECT n.payment_id, n.account_id, n.environment, n.identity, n.source, n.facilitator, n.scheme, n.network, n.asset,
      n.pay_to, n.payer, n.amount_base_units, n.signed, 'settling', n.from_block,
      now() + n.lease_ms * interval '1 ms'
    FROM unnest(p_payment_id, p_account_id, p_environment, p_identity, p_source, p_facilitator, p_scheme, p_network,
        p_asset, p_pay_to, p_payer, p_amount_base_units, p_signed, p_from_block, p_lease_ms, p_purpose,
        p_max_reverted, p_window_ms)
      AS n (payment_id, account_id, environment, identity, source, facilitator, scheme, network, asset, pay_to, payer,
        amount_base_units, signed, from_block, lease_ms, purpose, max_reverted, window_ms)
    WHERE n.purpose IS NULL
      -- Two requests that store one payment: only the one whose row is stored may go on.
      AND cardinality(array_positions(p_payment_id, n.payment_id)) = 1
      AND EXISTS (SELECT FROM account a WHERE a.account_id = n.account_id AND a.environment = n.environment)
      AND id_in_window(n.payment_id, v_now)
      AND (n.max_reverted IS NULL OR n.max_reverted > (
        SELECT count(*) FROM payment p
        WHERE p.payer = n.payer AND p.network = n.network AND p.state = 'failed'
          AND p.reason IN ('reverted', 'failed_on_chain') AND p.updated_at > now() - n.window_ms * interval '1 ms'))
    ORDER BY n.account_id, n.payment_id
    ON CONFLICT DO NOTHING
    RETURNING array_position(p_payment_id, stored.payment_id);
END $$;

CREATE OR REPLACE FUNCTION open_payments(
  p_payment_id uuid[], p_account_id bigint[], p_environment text[], p_identity text[], p_source text[],
  p_facilitator text[], p_scheme text[], p_network text[], p_asset text[], p_pay_to text[], p_payer text[],
  p_amount_base_units numeric[], p_signed jsonb[], p_from_block bigint[], p_lease_ms bigint[], p_purpose jsonb[],
  p_max_reverted int[], p_window_ms float8[]
) RETURNS TABLE (created boolean, over_budget boolean) LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
  v_done int[];
BEGIN
  PERFORM share_locks(cardinality(p_payment_id));
  SELECT coalesce(array_agg(o.place), '{}') INTO v_done
  FROM open_plain_payments(p_payment_id, p_account_id, p_environment, p_identity, p_source, p_facilitator, p_scheme,
    p_network, p_asset, p_pay_to, p_payer, p_amount_base_units, p_signed, p_from_block, p_lease_ms, p_purpose,
    p_max_reverted, p_window_ms) o;
  RETURN QUERY
    SELECT r.created, r.over_budget
    FROM (
      SELECT d.place, true AS created, false AS over_budget FROM unnest(v_done) AS d (place)
      UNION ALL
      SELECT n.place, o.created, o.over_budget
      FROM (
        SELECT * FROM unnest(p_payment_id, p_account_id, p_environment, p_identity, p_source, p_facilitator, p_scheme,
            p_network, p_asset, p_pay_to, p_payer, p_amount_base_units, p_signed, p_from_block, p_lease_ms, p_purpose,
            p_max_reverted, p_window_ms) WITH ORDINALITY
          AS n (payment_id, account_id, environment, identity, source, facilitator, scheme, network, asset, pay_to,
            payer, amount_base_units, signed, from_block, lease_ms, purpose, max_reverted, window_ms, place)
        WHERE n.place <> ALL (v_done)
        ORDER BY account_id, payment_id
      ) AS n
      CROSS JOIN LATERAL open_payment(n.payment_id, n.account_id, n.environment, n.identity, n.source, n.facilitator,
        n.scheme, n.network, n.asset, n.pay_to, n.payer, n.amount_base_units, n.signed, n.from_block, n.lease_ms,
        n.purpose, n.max_reverted, n.window_ms) AS o
    ) AS r
    ORDER BY r.place;
END $$;
