-- Who owns what, and in which cell it lives. Small and slow-growing next to the cells: it is read by key
-- when a caller is identified and written when somebody new arrives or a payment is claimed.

CREATE TABLE customer (
  customer_id uuid NOT NULL,
  environment text NOT NULL,
  -- Names the ledger account in the cell. Only an identifier: its order carries no meaning.
  account_id bigint GENERATED ALWAYS AS IDENTITY,
  cell text NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT customer_pkey PRIMARY KEY (customer_id),
  CONSTRAINT customer_account_key UNIQUE (account_id),
  CONSTRAINT customer_environment_key UNIQUE (customer_id, environment),
  CONSTRAINT customer_environment_check CHECK (environment IN ('live', 'test'))
);

-- One customer may be known by several names: a wallet on Base, a wallet on Solana, a key, an e-mail.
CREATE TABLE customer_identity (
  environment text NOT NULL,
  kind text NOT NULL,
  -- Canonical form; for a wallet its CAIP-10 account id, e.g. eip155:8453:0xab…
  value text NOT NULL,
  customer_id uuid NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT customer_identity_pkey PRIMARY KEY (environment, kind, value),
  -- The composite key is what keeps a test identity from ever naming a live customer.
  CONSTRAINT customer_identity_customer_fkey FOREIGN KEY (customer_id, environment)
    REFERENCES customer (customer_id, environment),
  CONSTRAINT customer_identity_kind_check CHECK (kind IN ('wallet')),
  CONSTRAINT customer_identity_value_check CHECK (length(value) BETWEEN 1 AND 200)
);
CREATE INDEX customer_identity_customer_idx ON customer_identity (customer_id);

-- A signed payment belongs to whoever claims it first, in the whole deployment and not only in one cell.
-- The claim is committed before anything is sent and is never deleted.
CREATE TABLE payment_claim (
  identity text NOT NULL,
  payment_id uuid NOT NULL,
  account_id bigint NOT NULL,
  environment text NOT NULL,
  cell text NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT payment_claim_pkey PRIMARY KEY (identity),
  CONSTRAINT payment_claim_payment_key UNIQUE (payment_id),
  CONSTRAINT payment_claim_environment_check CHECK (environment IN ('live', 'test')),
  -- Two spellings of one payment would be two credits.
  CONSTRAINT payment_claim_canonical_check CHECK (identity = lower(identity) AND length(identity) BETWEEN 8 AND 300)
);

-- The next nonce of each key that pays gas. Its row lock is the nonce lock of every replica.
CREATE TABLE evm_sender (
  network text NOT NULL,
  sender text NOT NULL,
  next_nonce bigint NOT NULL,
  CONSTRAINT evm_sender_pkey PRIMARY KEY (network, sender),
  CONSTRAINT evm_sender_nonce_check CHECK (next_nonce >= 0),
  CONSTRAINT evm_sender_canonical_check CHECK (sender ~ '^0x[0-9a-f]{40}$')
);

-- Signed transactions, stored before they are sent: a hash is never lost and bytes can be sent again.
CREATE TABLE evm_transaction (
  network text NOT NULL,
  sender text NOT NULL,
  nonce bigint NOT NULL,
  hash text NOT NULL,
  raw text NOT NULL,
  payment_id uuid NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT evm_transaction_pkey PRIMARY KEY (network, sender, nonce, hash),
  -- One payment is signed once, whichever replica asks.
  CONSTRAINT evm_transaction_payment_key UNIQUE (payment_id),
  CONSTRAINT evm_transaction_sender_fkey FOREIGN KEY (network, sender) REFERENCES evm_sender (network, sender),
  CONSTRAINT evm_transaction_hash_check CHECK (hash ~ '^0x[0-9a-f]{64}$')
);

-- Finds the customer of an identity, or makes one with a fresh account. Racing callers meet at the primary
-- key: the loser's customer row is rolled back with its subtransaction.
CREATE FUNCTION resolve_customer(
  p_environment text, p_kind text, p_value text, p_customer_id uuid, p_cell text,
  OUT customer_id uuid, OUT account_id bigint, OUT cell text
) LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
  FOR attempt IN 1..3 LOOP
    SELECT c.customer_id, c.account_id, c.cell INTO customer_id, account_id, cell
      FROM customer_identity i JOIN customer c ON c.customer_id = i.customer_id
      WHERE i.environment = p_environment AND i.kind = p_kind AND i.value = p_value;
    IF FOUND THEN RETURN; END IF;
    BEGIN
      INSERT INTO customer AS c (customer_id, environment, cell) VALUES (p_customer_id, p_environment, p_cell)
        RETURNING c.customer_id, c.account_id, c.cell INTO customer_id, account_id, cell;
      INSERT INTO customer_identity (environment, kind, value, customer_id)
        VALUES (p_environment, p_kind, p_value, p_customer_id);
      RETURN;
    EXCEPTION WHEN unique_violation THEN
      NULL; -- somebody else was first: read theirs
    END;
  END LOOP;
  RAISE EXCEPTION 'customer identity could not be resolved';
END $$;

-- Claims a payment for an account. `claimed` is false when it was claimed before, and then the other
-- columns tell by which payment and account.
CREATE FUNCTION claim_payment(
  p_identity text, p_payment_id uuid, p_account_id bigint, p_environment text, p_cell text,
  OUT claimed boolean, OUT payment_id uuid, OUT account_id bigint, OUT environment text, OUT cell text
) LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
  INSERT INTO payment_claim AS c (identity, payment_id, account_id, environment, cell)
    VALUES (p_identity, p_payment_id, p_account_id, p_environment, p_cell)
    ON CONFLICT ON CONSTRAINT payment_claim_pkey DO NOTHING
    RETURNING true, c.payment_id, c.account_id, c.environment, c.cell
    INTO claimed, payment_id, account_id, environment, cell;
  IF FOUND THEN RETURN; END IF;
  SELECT false, c.payment_id, c.account_id, c.environment, c.cell
    INTO claimed, payment_id, account_id, environment, cell
    FROM payment_claim c WHERE c.identity = p_identity;
END $$;

-- Stores a signed transaction if its nonce is exactly the next one; the row lock on evm_sender orders all
-- replicas. Outcomes: 'stored'; 'existing' (the payment was signed before: send those bytes); 'stale' (take
-- `nonce` and sign again). Nothing that was not stored may be sent.
CREATE FUNCTION store_signed_transaction(
  p_network text, p_sender text, p_nonce bigint, p_hash text, p_raw text, p_payment_id uuid,
  OUT outcome text, OUT nonce bigint, OUT hash text, OUT raw text
) LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE v_next bigint;
BEGIN
  SELECT s.next_nonce INTO v_next FROM evm_sender s
    WHERE s.network = p_network AND s.sender = p_sender FOR NO KEY UPDATE;
  IF NOT FOUND THEN RAISE EXCEPTION 'unknown sender'; END IF;
  SELECT 'existing', t.nonce, t.hash, t.raw INTO outcome, nonce, hash, raw
    FROM evm_transaction t WHERE t.payment_id = p_payment_id;
  IF FOUND THEN RETURN; END IF;
  IF p_nonce <> v_next THEN
    outcome := 'stale'; nonce := v_next;
    RETURN;
  END IF;
  INSERT INTO evm_transaction (network, sender, nonce, hash, raw, payment_id)
    VALUES (p_network, p_sender, p_nonce, p_hash, p_raw, p_payment_id);
  UPDATE evm_sender s SET next_nonce = v_next + 1 WHERE s.network = p_network AND s.sender = p_sender;
  outcome := 'stored'; nonce := p_nonce; hash := p_hash; raw := p_raw;
END $$;
