-- As before. And where another process has proven the same in the meantime, without having heard the facilitator's claim:
-- the claim is kept all the same.
CREATE OR REPLACE FUNCTION fail_payment(
  p_payment_id uuid, p_reason text, p_transaction text, p_recheck_at timestamptz, p_said_settled boolean DEFAULT false
) RETURNS void LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
  v payment;
  v_was text;
BEGIN
  SELECT state INTO v_was FROM payment WHERE payment_id = p_payment_id FOR NO KEY UPDATE;
  UPDATE payment SET state = 'failed', reason = p_reason, transaction = coalesce(p_transaction, transaction),
      said_settled = said_settled OR p_said_settled, due_at = p_recheck_at, updated_at = now()
    WHERE payment_id = p_payment_id
      AND (state IN ('settling', 'pending', 'reversed') OR (state = 'failed' AND reason = 'reverted'))
    RETURNING * INTO v;
  IF NOT FOUND THEN
    UPDATE payment SET said_settled = true
      WHERE payment_id = p_payment_id AND p_said_settled AND state = 'failed' AND NOT said_settled;
  ELSIF v_was <> 'failed' THEN
    INSERT INTO outbox (event_id, account_id, environment, type, payload)
      VALUES (gen_random_uuid(), v.account_id, v.environment, 'payment.failed',
        jsonb_build_object('paymentId', v.payment_id, 'network', v.network, 'reason', p_reason));
  END IF;
END $$;
