-- Nearly every wallet that pays is known and nearly every claim is new: these are made together. Whatever is not, for
-- whatever reason, is not touched and not answered.
-- @returns the place of each claim that was made, and whom it is for
CREATE FUNCTION claim_for_known_wallets(
  p_identity text[], p_payment_id uuid[], p_environment text[], p_wallet text[]
) RETURNS TABLE (place int, account_id bigint, cell text) LANGUAGE plpgsql
SET search_path FROM CURRENT
-- A plan made while the tables are small must stay good when they have grown: by key, row by row.
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET enable_material = off
SET plan_cache_mode = force_generic_plan
AS $$
BEGIN
  RETURN QUERY
    INSERT INTO payment_claim AS made (identity, payment_id, account_id, environment, cell)
    SELECT n.identity, n.payment_id, c.account_id, n.environment, c.cell
    FROM unnest(p_identity, p_payment_id, p_environment, p_wallet) AS n (identity, payment_id, environment, wallet)
    JOIN customer_identity i ON i.environment = n.environment AND i.kind = 'wallet' AND i.value = n.wallet
    JOIN customer c ON c.customer_id = i.customer_id
    WHERE cardinality(array_positions(p_payment_id, n.payment_id)) = 1
    ORDER BY n.environment, n.wallet, n.identity
    ON CONFLICT ON CONSTRAINT payment_claim_pkey DO NOTHING
    RETURNING array_position(p_payment_id, made.payment_id), made.account_id, made.cell;
END $$;

-- Claims payments for the customers that wallets belong to, who are made when their wallet was never seen: the known ones
-- together and then the others, each as by a call of claim_wallet_payment, wallet by wallet, so that two such calls do not
-- wait for each other in a circle. All of them or, with an error, none. The answers are in the order of the arrays.
CREATE FUNCTION claim_wallet_payments(
  p_identity text[], p_payment_id uuid[], p_environment text[], p_wallet text[], p_customer_id uuid[]
) RETURNS TABLE (claimed boolean, payment_id uuid, account_id bigint, environment text, cell text, owner bigint)
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
  v_done int[];
  v_account bigint[];
  v_cell text[];
BEGIN
  SELECT coalesce(array_agg(k.place), '{}'), array_agg(k.account_id), array_agg(k.cell) INTO v_done, v_account, v_cell
  FROM claim_for_known_wallets(p_identity, p_payment_id, p_environment, p_wallet) k;
  RETURN QUERY
    SELECT r.claimed, r.payment_id, r.account_id, r.environment, r.cell, r.owner
    FROM (
      SELECT d.place, true AS claimed, p_payment_id[d.place] AS payment_id, d.account_id,
        p_environment[d.place] AS environment, d.cell, d.account_id AS owner
      FROM unnest(v_done, v_account, v_cell) AS d (place, account_id, cell)
      UNION ALL
      SELECT n.place, c.claimed, c.payment_id, c.account_id, c.environment, c.cell, c.owner
      FROM (
        SELECT * FROM unnest(p_identity, p_payment_id, p_environment, p_wallet, p_customer_id) WITH ORDINALITY
          AS n (identity, payment_id, environment, wallet, customer_id, place)
        WHERE n.place <> ALL (v_done)
        ORDER BY environment, wallet, identity
      ) AS n
      CROSS JOIN LATERAL claim_wallet_payment(n.identity, n.payment_id, n.environment, n.wallet, n.customer_id) AS c
    ) AS r
    ORDER BY r.place;
END $$;
