-- An agent is a customer of its own, owned by the customer whose wallets pay for it. The credit of a plan is worth more
-- than was paid for it, so it must not lie where other dialects read and spend: an agent's account is reached by its
-- keys alone.
CREATE TABLE agent (
  owner_id uuid NOT NULL,
  environment text NOT NULL,
  customer_id uuid NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT agent_pkey PRIMARY KEY (owner_id),
  CONSTRAINT agent_customer_key UNIQUE (customer_id),
  CONSTRAINT agent_owner_fkey FOREIGN KEY (owner_id, environment) REFERENCES customer (customer_id, environment),
  CONSTRAINT agent_customer_fkey FOREIGN KEY (customer_id, environment) REFERENCES customer (customer_id, environment)
);

-- Agents that were sold before stay what their keys say: the wallet's customer itself.
INSERT INTO agent (owner_id, environment, customer_id)
  SELECT DISTINCT customer_id, environment, customer_id FROM api_key WHERE dialect = 'mobula';

-- Finds the agent of a wallet's customer, or makes one. Racing callers meet at the primary key: the loser's customer
-- row is rolled back with its subtransaction.
CREATE FUNCTION resolve_agent(
  p_environment text, p_owner_id uuid, p_customer_id uuid, p_cell text,
  OUT customer_id uuid, OUT account_id bigint, OUT cell text
) LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
  FOR attempt IN 1..3 LOOP
    SELECT c.customer_id, c.account_id, c.cell INTO customer_id, account_id, cell
      FROM agent a JOIN customer c ON c.customer_id = a.customer_id WHERE a.owner_id = p_owner_id;
    IF FOUND THEN RETURN; END IF;
    BEGIN
      INSERT INTO customer AS c (customer_id, environment, cell) VALUES (p_customer_id, p_environment, p_cell)
        RETURNING c.customer_id, c.account_id, c.cell INTO customer_id, account_id, cell;
      INSERT INTO agent (owner_id, environment, customer_id) VALUES (p_owner_id, p_environment, p_customer_id);
      RETURN;
    EXCEPTION WHEN unique_violation THEN
      NULL; -- somebody else was first: read theirs
    END;
  END LOOP;
  RAISE EXCEPTION 'the agent could not be resolved';
END $$;
