-- Top-ups that a key's owner sends to somebody. The amount is held from the moment a top-up is accepted and
-- ends as a charge or not at all. Every change of state is a conditional update on a locked row.

CREATE TABLE topup (
  -- UUIDv7; also the id of the hold and of the transfer that it ends as.
  topup_id uuid NOT NULL,
  -- The name that its owner knows it by.
  transaction_id text NOT NULL,
  account_id bigint NOT NULL,
  environment text NOT NULL,
  key_id uuid NOT NULL,
  -- First day of the month in whose spending of the key it counts.
  spending_month date NOT NULL,
  platform text NOT NULL,
  -- Nano-USD, as every amount here.
  amount bigint NOT NULL,
  -- Null: the owner of the key.
  recipient_email text,
  reference text,
  metadata jsonb NOT NULL,
  provider text NOT NULL,
  state text NOT NULL DEFAULT 'pending',
  failure_reason text,
  -- Whether somebody outside was asked to deliver it: then it may be on its way, and cannot be cancelled.
  asked boolean NOT NULL,
  attempts integer NOT NULL DEFAULT 1,
  -- The code, sealed (src/lib/sealed.ts), and the recipient's balance after the delivery.
  voucher text,
  new_balance bigint,
  -- When it is looked at next; a claim moves it ahead, which is the lease.
  due_at timestamptz NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT topup_pkey PRIMARY KEY (topup_id),
  CONSTRAINT topup_transaction_key UNIQUE (transaction_id),
  CONSTRAINT topup_reference_key UNIQUE (account_id, reference),
  CONSTRAINT topup_account_fkey FOREIGN KEY (account_id, environment)
    REFERENCES account (account_id, environment),
  CONSTRAINT topup_state_check CHECK (state IN ('pending', 'delivered', 'failed', 'cancelled')),
  CONSTRAINT topup_failed_check CHECK ((state = 'failed') = (failure_reason IS NOT NULL)),
  CONSTRAINT topup_delivered_check CHECK ((state = 'delivered') = (voucher IS NOT NULL AND new_balance IS NOT NULL)),
  CONSTRAINT topup_amount_check CHECK (amount > 0)
);
CREATE INDEX topup_due_idx ON topup (due_at) WHERE state = 'pending';
CREATE INDEX topup_account_idx ON topup (account_id, topup_id);

-- Answers by the caller's idempotency key. The answer is null while the call that came first is at work.
CREATE TABLE topup_call (
  key_id uuid NOT NULL,
  idempotency_key text NOT NULL,
  request_hash bytea NOT NULL,
  topup_id uuid NOT NULL,
  status integer,
  body text,
  created_at timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT topup_call_pkey PRIMARY KEY (key_id, idempotency_key),
  CONSTRAINT topup_call_answer_check CHECK ((status IS NULL) = (body IS NULL))
);
CREATE INDEX topup_call_created_idx ON topup_call (created_at);

-- What a key has spent or holds in a month.
CREATE TABLE key_spending (
  key_id uuid NOT NULL,
  month date NOT NULL,
  spent bigint NOT NULL,
  CONSTRAINT key_spending_pkey PRIMARY KEY (key_id, month),
  CONSTRAINT key_spending_spent_check CHECK (spent >= 0)
);

-- Codes that stand for the credit of a recipient's wallet. Found by the hash, because the code is money.
CREATE TABLE voucher (
  code_hash bytea NOT NULL,
  topup_id uuid NOT NULL,
  environment text NOT NULL,
  amount bigint NOT NULL,
  -- The recipient's wallet, which may live in another cell.
  wallet_account_id bigint NOT NULL,
  wallet_cell text NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  redeemed_at timestamptz,
  redeemed_customer_id uuid,
  CONSTRAINT voucher_pkey PRIMARY KEY (code_hash),
  CONSTRAINT voucher_topup_key UNIQUE (topup_id),
  CONSTRAINT voucher_redeemed_check CHECK ((redeemed_at IS NULL) = (redeemed_customer_id IS NULL))
);

-- Accepts a top-up: everything that can refuse it is asked under the lock of the wallet, so calls of one owner
-- answer as if they came one after the other. Outcomes: 'accepted'; 'repeated' (the idempotency key was used;
-- the stored answer comes back, if there is one); 'duplicate' (the reference was); 'cap'; 'insufficient'.
CREATE FUNCTION accept_topup(
  p_topup_id uuid, p_transaction_id text, p_account bigint, p_environment text, p_key uuid, p_platform text,
  p_amount bigint, p_email text, p_reference text, p_metadata jsonb, p_provider text, p_asked boolean,
  p_cap bigint, p_idempotency_key text, p_request_hash bytea, p_hold_ms int, p_lease_ms bigint,
  OUT outcome text, OUT available bigint, OUT existing uuid, OUT same_request boolean,
  OUT status int, OUT body text, OUT age_ms bigint
) LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
  c topup_call;
  v_month date := date_trunc('month', clock_timestamp() AT TIME ZONE 'UTC');
  v_spent bigint;
  held record;
BEGIN
  -- What crosses the owner's threshold names this top-up (see account_crossed_alert).
  PERFORM set_config('gateway.transaction_id', p_transaction_id, true);
  PERFORM FROM account WHERE account_id = p_account AND environment = p_environment FOR NO KEY UPDATE;
  IF p_idempotency_key IS NOT NULL THEN
    SELECT * INTO c FROM topup_call t WHERE t.key_id = p_key AND t.idempotency_key = p_idempotency_key;
    IF FOUND AND c.created_at > clock_timestamp() - interval '24 hours' THEN
      outcome := 'repeated'; existing := c.topup_id; same_request := c.request_hash = p_request_hash;
      status := c.status; body := c.body;
      age_ms := extract(epoch FROM clock_timestamp() - c.created_at) * 1000;
      RETURN;
    END IF;
    DELETE FROM topup_call t WHERE t.key_id = p_key AND t.idempotency_key = p_idempotency_key;
  END IF;
  IF p_reference IS NOT NULL THEN
    SELECT t.topup_id INTO existing FROM topup t WHERE t.account_id = p_account AND t.reference = p_reference;
    IF FOUND THEN outcome := 'duplicate'; RETURN; END IF;
  END IF;
  SELECT spent INTO v_spent FROM key_spending WHERE key_id = p_key AND month = v_month;
  IF p_cap IS NOT NULL AND coalesce(v_spent, 0) + p_amount > p_cap THEN outcome := 'cap'; RETURN; END IF;
  SELECT * INTO held FROM apply_one(2::smallint, p_account, p_topup_id, p_amount, p_hold_ms);
  available := held.available;
  -- Not enough, no account yet, or frozen: in each case there is nothing to spend.
  IF held.status IN (2, 3, 6) THEN outcome := 'insufficient'; RETURN; END IF;
  IF held.status <> 0 THEN
    RAISE EXCEPTION 'the ledger refuses the hold of top-up %: status %', p_topup_id, held.status;
  END IF;
  INSERT INTO topup (topup_id, transaction_id, account_id, environment, key_id, spending_month, platform, amount,
      recipient_email, reference, metadata, provider, asked, due_at)
    VALUES (p_topup_id, p_transaction_id, p_account, p_environment, p_key, v_month, p_platform, p_amount,
      p_email, p_reference, p_metadata, p_provider, p_asked, clock_timestamp() + p_lease_ms * interval '1 ms');
  INSERT INTO key_spending AS k (key_id, month, spent) VALUES (p_key, v_month, p_amount)
    ON CONFLICT ON CONSTRAINT key_spending_pkey DO UPDATE SET spent = k.spent + p_amount;
  IF p_idempotency_key IS NOT NULL THEN
    INSERT INTO topup_call (key_id, idempotency_key, request_hash, topup_id)
      VALUES (p_key, p_idempotency_key, p_request_hash, p_topup_id);
  END IF;
  outcome := 'accepted';
END $$;

-- Ends a pending top-up without a charge: the hold is released, the key may spend the amount again and the
-- event is noted, all at once. Nothing happens to one that has ended, and with p_unless_asked to one that
-- somebody outside may be delivering.
CREATE FUNCTION end_topup(
  p_topup_id uuid, p_state text, p_reason text, p_unless_asked boolean, p_payload jsonb,
  OUT ended boolean, OUT available bigint
) LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
  v topup;
  released record;
BEGIN
  UPDATE topup SET state = p_state, failure_reason = p_reason, updated_at = clock_timestamp()
    WHERE topup_id = p_topup_id AND state = 'pending' AND NOT (p_unless_asked AND asked)
    RETURNING * INTO v;
  ended := FOUND;
  IF NOT ended THEN RETURN; END IF;
  SELECT * INTO released FROM apply_one(4::smallint, v.account_id, p_topup_id, 0::bigint, 0);
  -- 9: the hold had expired, so the money was free already.
  IF released.status NOT IN (0, 1, 9) THEN
    RAISE EXCEPTION 'the ledger refuses to release top-up %: status %', p_topup_id, released.status;
  END IF;
  available := released.available;
  UPDATE key_spending SET spent = spent - v.amount WHERE key_id = v.key_id AND month = v.spending_month;
  INSERT INTO outbox (event_id, account_id, environment, type, transaction_id, status, payload)
    VALUES (gen_random_uuid(), v.account_id, v.environment, 'topup.' || p_state, v.transaction_id, p_state, p_payload);
END $$;

-- Ends a pending top-up that the caller has locked and charged: code, balance and event in one statement.
CREATE FUNCTION deliver_topup(
  p_topup_id uuid, p_voucher text, p_code_hash bytea, p_new_balance bigint, p_wallet_account bigint,
  p_wallet_cell text, p_payload jsonb
) RETURNS void LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE v topup;
BEGIN
  UPDATE topup SET state = 'delivered', voucher = p_voucher, new_balance = p_new_balance,
      updated_at = clock_timestamp()
    WHERE topup_id = p_topup_id AND state = 'pending' RETURNING * INTO STRICT v;
  INSERT INTO voucher (code_hash, topup_id, environment, amount, wallet_account_id, wallet_cell)
    VALUES (p_code_hash, p_topup_id, v.environment, v.amount, p_wallet_account, p_wallet_cell);
  INSERT INTO outbox (event_id, account_id, environment, type, transaction_id, status, payload)
    VALUES (gen_random_uuid(), v.account_id, v.environment, 'topup.delivered', v.transaction_id, 'delivered', p_payload);
END $$;
