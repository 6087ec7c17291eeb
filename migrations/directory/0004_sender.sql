-- A nonce may have had several transactions: one that offered too little is replaced by one that offers more,
-- and a nonce that nobody used is filled with a transfer of nothing to ourselves. A transaction is live until
-- another takes its place; the bytes and the hash of the old one stay, because it can still be the one mined.
ALTER TABLE evm_transaction
  ALTER COLUMN payment_id DROP NOT NULL,
  ADD COLUMN superseded boolean NOT NULL DEFAULT false,
  DROP CONSTRAINT evm_transaction_payment_key;
-- A payment has one live transaction, whichever replica asks, and so has a nonce.
CREATE UNIQUE INDEX evm_transaction_live_payment_key ON evm_transaction (payment_id) WHERE NOT superseded;
CREATE UNIQUE INDEX evm_transaction_live_nonce_key ON evm_transaction (network, sender, nonce) WHERE NOT superseded;
CREATE INDEX evm_transaction_payment_idx ON evm_transaction (payment_id);

-- As before, but only a live transaction of the payment is the one to send: a payment whose transaction lost
-- its nonce to another is signed anew. EIP-3009's own nonce makes the token accept it once.
CREATE OR REPLACE FUNCTION store_signed_transaction(
  p_network text, p_sender text, p_nonce bigint, p_hash text, p_raw text, p_payment_id uuid,
  OUT outcome text, OUT nonce bigint, OUT hash text, OUT raw text
) LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE v_next bigint;
BEGIN
  SELECT s.next_nonce INTO v_next FROM evm_sender s
    WHERE s.network = p_network AND s.sender = p_sender FOR NO KEY UPDATE;
  IF NOT FOUND THEN RAISE EXCEPTION 'unknown sender'; END IF;
  SELECT 'existing', t.nonce, t.hash, t.raw INTO outcome, nonce, hash, raw
    FROM evm_transaction t WHERE t.payment_id = p_payment_id AND NOT t.superseded;
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

-- Stores a second transaction of a nonce in the place of its live one. False when that one is not live any
-- more: another replica was faster.
CREATE FUNCTION replace_signed_transaction(
  p_network text, p_sender text, p_nonce bigint, p_old_hash text, p_hash text, p_raw text
) RETURNS boolean LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE v_payment_id uuid;
BEGIN
  PERFORM FROM evm_sender s WHERE s.network = p_network AND s.sender = p_sender FOR NO KEY UPDATE;
  UPDATE evm_transaction t SET superseded = true
    WHERE t.network = p_network AND t.sender = p_sender AND t.nonce = p_nonce AND t.hash = p_old_hash
      AND NOT t.superseded
    RETURNING t.payment_id INTO v_payment_id;
  IF NOT FOUND THEN RETURN false; END IF;
  INSERT INTO evm_transaction (network, sender, nonce, hash, raw, payment_id)
    VALUES (p_network, p_sender, p_nonce, p_hash, p_raw, v_payment_id);
  RETURN true;
END $$;

-- Stores a transaction that belongs to no payment at a nonce below the next one that has no live one.
CREATE FUNCTION fill_nonce(
  p_network text, p_sender text, p_nonce bigint, p_hash text, p_raw text
) RETURNS boolean LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
  PERFORM FROM evm_sender s
    WHERE s.network = p_network AND s.sender = p_sender AND s.next_nonce > p_nonce FOR NO KEY UPDATE;
  IF NOT FOUND THEN RETURN false; END IF;
  INSERT INTO evm_transaction (network, sender, nonce, hash, raw)
    VALUES (p_network, p_sender, p_nonce, p_hash, p_raw)
    ON CONFLICT DO NOTHING;
  RETURN FOUND;
END $$;

-- Compares our next nonce with the number of mined transactions. When nothing was ever signed from there on,
-- our nonce goes back to it. Otherwise the nonces that have no live transaction come back, lowest first: the
-- chain takes no later transaction before them.
CREATE FUNCTION close_nonce_gap(
  p_network text, p_sender text, p_mined bigint, p_limit bigint
) RETURNS SETOF bigint LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
  v_next bigint;
  v_lowest bigint;
BEGIN
  SELECT s.next_nonce INTO v_next FROM evm_sender s
    WHERE s.network = p_network AND s.sender = p_sender FOR NO KEY UPDATE;
  IF NOT FOUND OR v_next <= p_mined THEN RETURN; END IF;
  SELECT min(t.nonce) INTO v_lowest FROM evm_transaction t
    WHERE t.network = p_network AND t.sender = p_sender AND t.nonce >= p_mined;
  IF v_lowest IS NULL THEN
    UPDATE evm_sender s SET next_nonce = p_mined WHERE s.network = p_network AND s.sender = p_sender;
    RETURN;
  END IF;
  -- So many are no slip of a node but another chain or another key's count: a person has to look.
  IF v_lowest - p_mined > 1000 THEN
    RAISE EXCEPTION 'the first waiting transaction has nonce %, but only % are mined', v_lowest, p_mined;
  END IF;
  RETURN QUERY
    SELECT n FROM generate_series(p_mined, least(v_next - 1, p_mined + 1000)) n
    WHERE NOT EXISTS (
      SELECT FROM evm_transaction t
      WHERE t.network = p_network AND t.sender = p_sender AND t.nonce = n AND NOT t.superseded)
    ORDER BY n LIMIT p_limit;
END $$;
