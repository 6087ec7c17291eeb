-- A credited payment is watched until its block can not be undone. When its transfer is gone before that, the
-- credit is taken back, and given again should the transfer come back.

ALTER TABLE payment
  ADD COLUMN block_hash text,
  -- The transfer of the ledger that credited it; the payment's own id the first time.
  ADD COLUMN grant_id uuid,
  -- From then on no reorganisation can undo its transfer, and nobody looks at it any more.
  ADD COLUMN final_at timestamptz,
  ADD COLUMN reversals integer NOT NULL DEFAULT 0,
  -- What the last reversal could not take back because it was spent; due when the money comes after all.
  ADD COLUMN written_off_nano_usd bigint NOT NULL DEFAULT 0,
  DROP CONSTRAINT payment_state_check,
  ADD CONSTRAINT payment_state_check CHECK (state IN ('settling', 'pending', 'credited', 'failed', 'reversed'));

UPDATE payment SET grant_id = payment_id, due_at = now() WHERE state = 'credited';

ALTER TABLE payment
  ADD CONSTRAINT payment_grant_check CHECK ((state = 'credited') = (grant_id IS NOT NULL));

DROP INDEX payment_open_idx;
CREATE INDEX payment_open_idx ON payment (due_at)
  WHERE state IN ('settling', 'pending', 'reversed') OR (state = 'failed' AND reason = 'reverted');
CREATE INDEX payment_not_final_idx ON payment (due_at) WHERE state = 'credited' AND final_at IS NULL;

-- As before; a reversed payment can fail too, once the chain proves that its money will never come.
CREATE OR REPLACE FUNCTION fail_payment(p_payment_id uuid, p_reason text, p_transaction text, p_recheck_at timestamptz)
RETURNS void LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
  v payment;
  v_was text;
BEGIN
  SELECT state INTO v_was FROM payment WHERE payment_id = p_payment_id FOR NO KEY UPDATE;
  UPDATE payment SET state = 'failed', reason = p_reason, transaction = coalesce(p_transaction, transaction),
      due_at = p_recheck_at, updated_at = now()
    WHERE payment_id = p_payment_id
      AND (state IN ('settling', 'pending', 'reversed') OR (state = 'failed' AND reason = 'reverted'))
    RETURNING * INTO v;
  IF FOUND AND v_was <> 'failed' THEN
    INSERT INTO outbox (event_id, account_id, environment, type, payload)
      VALUES (gen_random_uuid(), v.account_id, v.environment, 'payment.failed',
        jsonb_build_object('paymentId', v.payment_id, 'network', v.network, 'reason', p_reason));
  END IF;
END $$;

-- Lets an account spend again that a reversal froze, when no other reversal is open and nobody else has frozen it since.
CREATE FUNCTION thaw_after_reversal(p_account bigint, p_payment_id uuid) RETURNS void
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE v_actor text;
BEGIN
  SELECT o.actor INTO v_actor FROM operator_action o
    WHERE o.account_id = p_account AND o.action IN ('freeze', 'unfreeze')
    ORDER BY o.created_at DESC, o.id DESC LIMIT 1;
  IF v_actor IS DISTINCT FROM 'finality watcher' THEN RETURN; END IF;
  IF EXISTS (SELECT FROM payment p
             WHERE p.account_id = p_account AND p.payment_id <> p_payment_id AND p.written_off_nano_usd > 0) THEN
    RETURN;
  END IF;
  PERFORM set_frozen(p_account, new_id(clock_timestamp()), false,
    'the money of payment ' || p_payment_id || ' came back', 'finality watcher');
END $$;

DROP FUNCTION credit_payment(uuid, bigint, smallint, text, integer, bigint, timestamptz);

-- Credits a payment by the transfer that the chain reports, and applies what it buys. Grant, purchase, state,
-- stored answer and event are this one statement. `first` is false when it is credited already: then the stored
-- answer comes back. A failed payment may still be credited, because the chain's word stands above ours, and so
-- may a reversed one: with a grant of its own, less what was written off when the first one was taken back. What
-- it bought was applied then and is not applied `again`.
-- p_now is the gateway's clock: the time at which a purchase begins. The ledger keeps its own.
CREATE FUNCTION credit_payment(
  p_payment_id uuid, p_amount bigint, p_contra smallint, p_transaction text, p_log_index integer,
  p_block_number bigint, p_block_hash text, p_first_check_ms bigint, p_now timestamptz,
  OUT first boolean, OUT again boolean, OUT credited bigint, OUT available bigint, OUT transaction text,
  OUT purpose_result jsonb
) LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
  v payment;
  g record;
  v_grant uuid;
  v_owed bigint;
BEGIN
  SELECT * INTO v FROM payment p WHERE p.payment_id = p_payment_id FOR NO KEY UPDATE;
  IF NOT FOUND THEN RAISE EXCEPTION 'there is no payment %', p_payment_id; END IF;
  again := v.reversals > 0;
  purpose_result := v.purpose_result;
  IF v.state = 'credited' THEN
    first := false;
    credited := v.credited_nano_usd; available := v.available_nano_usd; transaction := v.transaction;
    RETURN;
  END IF;
  v_grant := CASE WHEN again THEN new_id(clock_timestamp()) ELSE p_payment_id END;
  SELECT * INTO g FROM add_grant(v.account_id, v_grant, p_amount, 'paid', p_contra, 50::smallint, NULL);
  IF g.status <> 0 THEN
    RAISE EXCEPTION 'the ledger refuses the credit of payment %: status %', p_payment_id, g.status;
  END IF;
  IF v.written_off_nano_usd > 0 THEN
    -- Refunds in the meantime may have paid for it already. The grant above has locked the account.
    v_owed := least(v.written_off_nano_usd, uncollected_of(v.account_id));
    IF v_owed > 0 THEN
      SELECT * INTO g FROM adjust(v.account_id, new_id(clock_timestamp()), -v_owed, 4::smallint,
        'spent before payment ' || p_payment_id || ' was reversed', 'finality watcher', p_collects => true);
      IF g.status <> 0 THEN
        RAISE EXCEPTION 'the ledger refuses to collect for payment %: status %', p_payment_id, g.status;
      END IF;
    END IF;
    PERFORM thaw_after_reversal(v.account_id, p_payment_id);
  END IF;
  first := true; credited := p_amount; available := g.available; transaction := p_transaction;
  IF v.purpose IS NOT NULL AND NOT again THEN
    purpose_result := apply_purpose(v, p_amount, p_now);
    SELECT a.posted - a.held + a.credit_line INTO available FROM account a WHERE a.account_id = v.account_id;
  END IF;
  UPDATE payment p SET state = 'credited', reason = NULL, transaction = p_transaction, log_index = p_log_index,
      block_number = p_block_number, block_hash = p_block_hash, credited_nano_usd = p_amount,
      available_nano_usd = credit_payment.available, purpose_result = credit_payment.purpose_result,
      grant_id = v_grant, written_off_nano_usd = 0, attempts = 0,
      due_at = now() + p_first_check_ms * interval '1 ms', updated_at = now()
    WHERE p.payment_id = p_payment_id;
  INSERT INTO outbox (event_id, account_id, environment, type, payload)
    VALUES (gen_random_uuid(), v.account_id, v.environment, 'payment.credited',
      jsonb_build_object('paymentId', p_payment_id, 'network', v.network, 'transaction', p_transaction,
        'amountNanoUsd', p_amount::text, 'source', v.source));
END $$;

-- Takes back the credit of a payment whose transfer the chain has undone. Nothing happens unless the payment is
-- still credited by the very transfer that the caller saw vanish. Credit that is spent or held already cannot be
-- taken back: it is written off and the account frozen, until the money comes back or a person decides.
CREATE FUNCTION reverse_payment(
  p_payment_id uuid, p_transaction text, p_block_hash text, p_reason text,
  OUT reversed boolean, OUT written_off bigint
) LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
  v payment;
  a account;
  r record;
BEGIN
  SELECT * INTO v FROM payment p WHERE p.payment_id = p_payment_id FOR NO KEY UPDATE;
  reversed := v.state = 'credited' AND v.final_at IS NULL AND v.transaction = p_transaction
    AND v.block_hash IS NOT DISTINCT FROM p_block_hash;
  IF reversed IS NOT TRUE THEN
    reversed := false; written_off := 0; RETURN;
  END IF;
  PERFORM lock_account(v.account_id, NULL);
  SELECT * INTO a FROM account WHERE account_id = v.account_id;
  SELECT * INTO r FROM reverse_transfer(
    v.account_id, new_id(clock_timestamp()), v.grant_id, p_reason, 'finality watcher');
  -- 15: a person has taken this credit back already, and there is nothing left of it.
  IF r.status NOT IN (0, 15) THEN
    RAISE EXCEPTION 'the ledger refuses the reversal of payment %: status %', p_payment_id, r.status;
  END IF;
  written_off := CASE r.status WHEN 0 THEN r.posted - a.posted + v.credited_nano_usd ELSE 0 END;
  IF written_off > 0 AND NOT a.frozen THEN
    PERFORM set_frozen(v.account_id, new_id(clock_timestamp()), true,
      'the money of payment ' || p_payment_id || ' was undone after it was spent', 'finality watcher');
  END IF;
  UPDATE payment p SET state = 'reversed', reason = p_reason, log_index = NULL, block_number = NULL,
      block_hash = NULL, credited_nano_usd = NULL, available_nano_usd = NULL, grant_id = NULL, said_settled = false,
      reversals = v.reversals + 1, written_off_nano_usd = written_off, attempts = 0, due_at = now(), updated_at = now()
    WHERE p.payment_id = p_payment_id;
  INSERT INTO outbox (event_id, account_id, environment, type, payload)
    VALUES (gen_random_uuid(), v.account_id, v.environment, 'payment.reversed',
      jsonb_build_object('paymentId', p_payment_id, 'network', v.network, 'transaction', v.transaction,
        'amountNanoUsd', v.credited_nano_usd::text, 'writtenOffNanoUsd', written_off::text, 'source', v.source));
END $$;
