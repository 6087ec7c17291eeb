-- What a reversal owes and to whom. Credit that was forfeited before goes back to where it went and is nobody's debt;
-- credit of the reversed grant that a hold protects goes when the hold ends, and pays for its own write-off.

ALTER TABLE credit_grant
  -- The part of `forfeited` that a void took. It left against another system account than what expiry took.
  ADD COLUMN voided_amount bigint NOT NULL DEFAULT 0;
UPDATE credit_grant SET voided_amount = forfeited WHERE voided AND forfeited > 0;
ALTER TABLE credit_grant ADD CONSTRAINT credit_grant_voided_check CHECK (voided_amount BETWEEN 0 AND forfeited);

-- `recover` is the ledger's own: credit of a reversed grant that turned out not to be used.
ALTER TABLE operator_action
  DROP CONSTRAINT operator_action_action_check,
  ADD CONSTRAINT operator_action_action_check CHECK (
    action IN ('void', 'refund', 'reverse', 'adjust', 'freeze', 'unfreeze', 'credit_line', 'recover'));

-- A new UUIDv7 for transfers that the ledger itself makes. Where the log ends before p_at, because nobody has made
-- the months ahead, it is the last one that the log can hold: ends of holds and grants must not wait for an operator.
CREATE OR REPLACE FUNCTION new_id(p_at timestamptz) RETURNS uuid LANGUAGE sql VOLATILE STRICT AS $$
  SELECT (left(id_at(least(p_at, id_time(w.id_until) - interval '1 millisecond'))::text, 14) || '7'
    || substring(gen_random_uuid()::text FROM 16))::uuid
  FROM transfer_window w
$$;

-- A new id of the same instant as another, and so of the same month: rows that explain each other leave the log
-- together.
CREATE FUNCTION id_beside(p_id uuid) RETURNS uuid LANGUAGE sql VOLATILE STRICT AS $$
  SELECT (left(p_id::text, 14) || '7' || substring(gen_random_uuid()::text FROM 16))::uuid
$$;

-- Books the end of p_amount of a reversed grant. The reversal had to write it off, because it was held; it was not
-- used after all, so it pays for that.
CREATE FUNCTION recover_reversed(INOUT a account, p_grant uuid, p_amount bigint, p_now timestamptz)
LANGUAGE plpgsql AS $$
DECLARE
  v_id uuid := new_id(p_now);
BEGIN
  INSERT INTO operator_action
    (account_id, id, action, original_id, amount, uncollected, reason, actor, created_at)
  VALUES (a.account_id, v_id, 'recover', p_grant, p_amount, -p_amount,
    'reversed credit is not held any more', 'ledger', p_now);
  a := append_transfer(a, v_id, -p_amount, 13, 4, p_now);
END $$;

-- Forfeits grants that have ended, at most what is not held. A hold protects an amount and no particular grant:
-- ended credit is protected as far as the credit that goes on does not cover the holds, and goes when they end.
-- The first transfer takes p_id if given, one of amount zero where there is nothing to forfeit. The caller holds
-- the lock.
CREATE OR REPLACE FUNCTION end_due_grants(p_account bigint, p_now timestamptz, p_id uuid DEFAULT NULL) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
  a account;
  g record;
  part bigint;
  next_id uuid := p_id;
BEGIN
  PERFORM burn_grants(p_account);
  SELECT * INTO a FROM account WHERE account_id = p_account;
  FOR g IN
    SELECT c.id, c.remaining, c.contra, c.voided, EXISTS (
      SELECT FROM operator_action o
      WHERE o.account_id = p_account AND o.original_id = c.id AND o.action = 'reverse') AS reversed
    FROM credit_grant c
    WHERE c.account_id = p_account AND c.remaining > 0 AND c.ends_at <= p_now
    ORDER BY c.priority, c.expires_at, c.created_at, c.id
  LOOP
    part := least(g.remaining, a.posted - a.held);
    EXIT WHEN part <= 0;
    UPDATE credit_grant SET remaining = remaining - part, forfeited = forfeited + part,
      voided_amount = voided_amount + CASE WHEN g.voided AND NOT g.reversed THEN part ELSE 0 END
    WHERE account_id = p_account AND id = g.id;
    IF g.reversed THEN
      a := recover_reversed(a, g.id, part, p_now);
    ELSE
      a := append_transfer(a, coalesce(next_id, new_id(p_now)), -part,
        CASE WHEN g.voided THEN 7 ELSE 8 END, CASE WHEN g.voided THEN void_contra(g.contra) ELSE 3 END, p_now);
      next_id := NULL;
    END IF;
  END LOOP;
  IF next_id IS NOT NULL THEN
    a := append_transfer(a, next_id, 0, 7, 0, p_now);
  END IF;
  SELECT coalesce(min(ends_at), 'infinity') INTO a.next_due
  FROM credit_grant WHERE account_id = p_account AND remaining > 0;
  UPDATE account SET posted = a.posted, seq = a.seq, next_due = a.next_due WHERE account_id = p_account;
END $$;

-- Takes p_amount out of the grants of a locked account in the order of use, but for the grant p_except.
CREATE FUNCTION burn_others(p_account bigint, p_except uuid, p_amount bigint) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  g record;
  left_over bigint := p_amount;
  part bigint;
BEGIN
  FOR g IN
    SELECT id, remaining FROM credit_grant WHERE account_id = p_account AND remaining > 0 AND id <> p_except
    ORDER BY priority, expires_at, created_at, id
  LOOP
    EXIT WHEN left_over = 0;
    part := least(left_over, g.remaining);
    UPDATE credit_grant SET remaining = remaining - part WHERE account_id = p_account AND id = g.id;
    left_over := left_over - part;
  END LOOP;
END $$;

-- Takes a grant back, from a locked account. The whole amount leaves against the grant's own contra:
--   what was forfeited before comes back from where it went, so it is taken from nobody;
--   what was used is taken from other credit, as far as there is some that is not held;
--   what remains of the grant is taken as far as it is not held. The rest of it protects the holds until they end,
--   and then pays for its write-off (end_due_grants).
-- What could not be taken is written off; the balance stays at or above what is held. Returns what was written off.
CREATE OR REPLACE FUNCTION take_back(
  INOUT a account, p_id uuid, original transfer, p_now timestamptz, OUT written_off bigint
) LANGUAGE plpgsql AS $$
DECLARE
  g credit_grant;
  free bigint := greatest(a.posted - a.held, 0);
  from_others bigint;
  part bigint;
BEGIN
  SELECT * INTO g FROM credit_grant WHERE account_id = a.account_id AND id = original.id;
  from_others := least(g.amount - g.remaining - g.forfeited, greatest(a.posted - g.remaining, 0), free);
  part := least(g.remaining, free - from_others);
  written_off := g.amount - g.forfeited - from_others - part;
  IF written_off > 0 THEN
    a := append_transfer(a, new_id(p_now), written_off, 12, 4, p_now);
  END IF;
  IF g.voided_amount > 0 THEN
    a := append_transfer(a, new_id(p_now), g.voided_amount, 10, void_contra(g.contra), p_now);
  END IF;
  IF g.forfeited > g.voided_amount THEN
    a := append_transfer(a, new_id(p_now), g.forfeited - g.voided_amount, 10, 3, p_now);
  END IF;
  a := append_transfer(a, p_id, -original.amount, 10, original.contra, p_now);
  PERFORM burn_others(a.account_id, g.id, from_others);
  UPDATE credit_grant SET remaining = remaining - part, forfeited = forfeited + part, ends_at = least(ends_at, p_now)
  WHERE account_id = a.account_id AND id = g.id;
END $$;

-- Credits a payment by the transfer that the chain reports, and applies what it buys. Grant, purchase, state,
-- stored answer and event are this one statement. `first` is false when it is credited already: then the stored
-- answer comes back. A failed payment may still be credited, because the chain's word stands above ours, and so
-- may a reversed one: with a grant of its own, less what was written off when the first one was taken back. What
-- it bought was applied then and is not applied `again`.
-- p_now is the gateway's clock: the time at which a purchase begins. The ledger keeps its own.
CREATE OR REPLACE FUNCTION credit_payment(
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
    -- Refunds may have paid for it already, and so does credit of the reversed grant that no hold needs any more now
    -- that the new grant stands for it: that ends here, before the debt is read.
    PERFORM lock_account(v.account_id, NULL);
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
  END IF;
  IF v.purpose IS NOT NULL OR again THEN
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
CREATE OR REPLACE FUNCTION reverse_payment(
  p_payment_id uuid, p_transaction text, p_block_hash text, p_reason text,
  OUT reversed boolean, OUT written_off bigint
) LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
  v payment;
  a account;
  r record;
  v_reversal uuid := new_id(clock_timestamp());
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
    v.account_id, v_reversal, v.grant_id, p_reason, 'finality watcher');
  -- 15: a person has taken this credit back already, and there is nothing left of it.
  IF r.status NOT IN (0, 15) THEN
    RAISE EXCEPTION 'the ledger refuses the reversal of payment %: status %', p_payment_id, r.status;
  END IF;
  SELECT coalesce(sum(o.uncollected), 0) INTO written_off FROM operator_action o
    WHERE o.account_id = v.account_id AND o.id = v_reversal;
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
