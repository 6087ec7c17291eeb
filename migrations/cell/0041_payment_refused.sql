-- Purpose `refused` { reason }: the rules forbade the purchase after its payer had sent the money. Nothing is bought,
-- the money is credit of the account, and an event tells the operator.
CREATE FUNCTION apply_purpose_refused(p payment, p_amount bigint, p_now timestamptz) RETURNS jsonb
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
  INSERT INTO outbox (event_id, account_id, environment, type, payload)
    VALUES (gen_random_uuid(), p.account_id, p.environment, 'payment.unapplied',
      jsonb_build_object('paymentId', p.payment_id, 'purpose', 'refused', 'reason', p.purpose ->> 'reason'));
  RETURN jsonb_build_object('unapplied', p.purpose ->> 'reason', 'refused', true);
END $$;
