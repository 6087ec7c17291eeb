-- Credit that nobody paid for stays what it is when it is sent and redeemed: it must not become money that could be
-- paid back. How much of a voucher it is, is known when the sender is charged.
ALTER TABLE voucher
  ADD COLUMN promotional bigint NOT NULL DEFAULT 0,
  ADD CONSTRAINT voucher_promotional_check CHECK (promotional BETWEEN 0 AND amount);

-- Captures a hold as apply_one does, and tells how much of it was promotional credit. Grants are used up lazily, so
-- what was spent before is taken out of them first, then the capture, and the difference is its own. What is used
-- counts, not what remains: a grant that ends in between loses the rest without being used.
CREATE FUNCTION capture_by_source(
  p_account bigint, p_id uuid, p_amount bigint, OUT status smallint, OUT promotional bigint
) LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
  v_grants uuid[];
  v_before bigint;
BEGIN
  PERFORM lock_account(p_account, NULL);
  SELECT coalesce(array_agg(id), '{}'), coalesce(sum(amount - remaining - forfeited), 0) INTO v_grants, v_before
  FROM credit_grant WHERE account_id = p_account AND source = 'promotional' AND remaining > 0;
  SELECT o.status INTO status FROM apply_one(3::smallint, p_account, p_id, p_amount, 0) o;
  PERFORM burn_grants(p_account);
  SELECT coalesce(sum(amount - remaining - forfeited), 0) - v_before INTO promotional
  FROM credit_grant WHERE account_id = p_account AND id = ANY (v_grants);
END $$;

DROP FUNCTION deliver_topup(uuid, text, bytea, bigint, bigint, text, jsonb);

-- Ends a pending top-up that the caller has locked and charged: code, balance and event in one statement.
CREATE FUNCTION deliver_topup(
  p_topup_id uuid, p_voucher text, p_code_hash bytea, p_promotional bigint, p_new_balance bigint,
  p_wallet_account bigint, p_wallet_cell text, p_payload jsonb
) RETURNS void LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE v topup;
BEGIN
  UPDATE topup SET state = 'delivered', voucher = p_voucher, new_balance = p_new_balance,
      updated_at = clock_timestamp()
    WHERE topup_id = p_topup_id AND state = 'pending' RETURNING * INTO STRICT v;
  INSERT INTO voucher (code_hash, topup_id, environment, amount, promotional, wallet_account_id, wallet_cell)
    VALUES (p_code_hash, p_topup_id, v.environment, v.amount, p_promotional, p_wallet_account, p_wallet_cell);
  INSERT INTO outbox (event_id, account_id, environment, type, transaction_id, status, payload)
    VALUES (gen_random_uuid(), v.account_id, v.environment, 'topup.delivered', v.transaction_id, 'delivered', p_payload);
END $$;
