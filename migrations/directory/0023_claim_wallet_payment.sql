-- Finds or makes the customer of the paying wallet and claims the payment for it, in one call. `owner` is that customer's
-- account, which is not the claim's when somebody else has claimed the payment before.
CREATE FUNCTION claim_wallet_payment(
  p_identity text, p_payment_id uuid, p_environment text, p_wallet text, p_customer_id uuid,
  OUT claimed boolean, OUT payment_id uuid, OUT account_id bigint, OUT environment text, OUT cell text, OUT owner bigint
) LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
  v_cell text;
BEGIN
  SELECT r.account_id, r.cell INTO owner, v_cell
    FROM resolve_customer(p_environment, 'wallet', p_wallet, p_customer_id, NULL) r;
  SELECT c.claimed, c.payment_id, c.account_id, c.environment, c.cell
    INTO claimed, payment_id, account_id, environment, cell
    FROM claim_payment(p_identity, p_payment_id, owner, p_environment, v_cell) c;
END $$;
