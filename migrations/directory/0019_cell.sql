-- The cells of this database. `topup-gateway migrate` writes down every one that it makes, so that a process which was
-- told of fewer can see it: nobody would end the holds of the others, or find their payments.
CREATE TABLE cell (
  cell text NOT NULL,
  -- Its part of the new customers next to the others'; zero: it takes none, and those that it has stay. Null: no
  -- process has looked after it yet, so that a payment there would find nothing prepared.
  share integer,
  created_at timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT cell_pkey PRIMARY KEY (cell),
  CONSTRAINT cell_name_check CHECK (cell ~ '^[a-z][a-z0-9_]{0,30}$'),
  CONSTRAINT cell_share_check CHECK (share BETWEEN 0 AND 1000000)
);
INSERT INTO cell (cell, share) SELECT DISTINCT c.cell, 1 FROM customer c;

-- Where the next new customer lives: at random, by the shares. A customer stays where it began.
CREATE FUNCTION cell_for_customer() RETURNS text LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE v_cell text;
BEGIN
  SELECT c.cell INTO v_cell FROM cell c WHERE c.share > 0 ORDER BY -ln(1 - random()) / c.share LIMIT 1;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'no cell takes new customers' USING ERRCODE = 'object_not_in_prerequisite_state';
  END IF;
  RETURN v_cell;
END $$;

ALTER TABLE customer ALTER COLUMN cell SET DEFAULT cell_for_customer();

-- As before; without p_cell the directory chooses.
CREATE OR REPLACE FUNCTION resolve_customer(
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
      INSERT INTO customer AS c (customer_id, environment, cell)
        VALUES (p_customer_id, p_environment, coalesce(p_cell, cell_for_customer()))
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

-- As before; a claim for no account is in no cell, and its column names any: there is no payment of it there.
CREATE OR REPLACE FUNCTION claim_payment(
  p_identity text, p_payment_id uuid, p_account_id bigint, p_environment text, p_cell text,
  OUT claimed boolean, OUT payment_id uuid, OUT account_id bigint, OUT environment text, OUT cell text
) LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
  INSERT INTO payment_claim AS c (identity, payment_id, account_id, environment, cell)
    VALUES (p_identity, p_payment_id, p_account_id, p_environment,
      coalesce(p_cell, (SELECT min(k.cell) FROM cell k)))
    ON CONFLICT ON CONSTRAINT payment_claim_pkey DO NOTHING
    RETURNING true, c.payment_id, c.account_id, c.environment, c.cell
    INTO claimed, payment_id, account_id, environment, cell;
  IF FOUND THEN RETURN; END IF;
  SELECT false, c.payment_id, c.account_id, c.environment, c.cell
    INTO claimed, payment_id, account_id, environment, cell
    FROM payment_claim c WHERE c.identity = p_identity;
END $$;
