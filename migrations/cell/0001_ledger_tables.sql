-- The ledger of one cell. Amounts are integer nano-USD (1e-9 USD) in int8. Every key leads with the
-- account, no foreign key leaves the account's rows and no sequence is shared, so a cell can live on any node.

CREATE TABLE account (
  account_id bigint NOT NULL,
  environment text NOT NULL,
  frozen boolean NOT NULL DEFAULT false,
  posted bigint NOT NULL DEFAULT 0,
  held bigint NOT NULL DEFAULT 0,
  -- Spent and not yet taken out of a grant: the hot path adds here, burn_grants folds it in.
  unburned bigint NOT NULL DEFAULT 0,
  credit_line bigint NOT NULL DEFAULT 0,
  -- Number of the account's newest transfer: gap-free, because it is counted under the row lock.
  seq bigint NOT NULL DEFAULT 0,
  -- When the next grant ends; the first call after this instant forfeits it before doing anything else.
  next_due timestamptz NOT NULL DEFAULT 'infinity',
  created_at timestamptz NOT NULL,
  CONSTRAINT account_pkey PRIMARY KEY (account_id),
  -- Lets other tables of the cell reference the pair, so that their rows carry the account's environment.
  CONSTRAINT account_environment_key UNIQUE (account_id, environment),
  CONSTRAINT account_environment_check CHECK (environment IN ('live', 'test')),
  CONSTRAINT account_id_check CHECK (account_id > 0),
  CONSTRAINT account_held_check CHECK (held >= 0),
  CONSTRAINT account_no_overdraft_check CHECK (posted - held >= -credit_line),
  CONSTRAINT account_credit_line_check CHECK (credit_line >= 0),
  CONSTRAINT account_unburned_check CHECK (unburned >= 0)
  -- Half-empty pages keep the balance updates inside their page (HOT), without touching an index.
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.2);

CREATE INDEX account_next_due_idx ON account (next_due) WHERE next_due < 'infinity';

-- The log: one row is one transfer between the customer's account and the system account named by the
-- code `contra`, so debits equal credits by the shape of the row. Its key is the idempotency store.
CREATE TABLE transfer (
  account_id bigint NOT NULL,
  id uuid NOT NULL,
  seq bigint NOT NULL,
  amount bigint NOT NULL,
  balance_after bigint NOT NULL,
  -- What the hold that ends here had reserved, and the lifetime it was placed with; zero without a hold. They
  -- are the content that a repetition of the hold is compared with.
  hold_amount bigint NOT NULL,
  created_at timestamptz NOT NULL,
  hold_lifetime_ms int NOT NULL,
  code smallint NOT NULL,
  contra smallint NOT NULL,
  CONSTRAINT transfer_pkey PRIMARY KEY (account_id, id),
  -- 2 is a hold, which is not a transfer while it is open.
  CONSTRAINT transfer_code_check CHECK (code BETWEEN 1 AND 16 AND code <> 2),
  CONSTRAINT transfer_contra_check CHECK (contra BETWEEN 0 AND 299 AND (contra <> 0 OR amount = 0))
) PARTITION BY RANGE (id);

-- For statements, seals and audits. The account is negated so that nothing else can use it: to the planner an
-- index on (account_id, seq) looks as good for finding an id as the key, and then a busy account is read whole.
CREATE INDEX transfer_seq_idx ON transfer ((-account_id), seq);

-- Open holds only: a hold ends as exactly one transfer with the same id.
CREATE TABLE hold (
  account_id bigint NOT NULL,
  id uuid NOT NULL,
  amount bigint NOT NULL,
  expires_at timestamptz NOT NULL,
  -- As it was placed; a renewal moves expires_at alone.
  lifetime_ms int NOT NULL,
  CONSTRAINT hold_pkey PRIMARY KEY (account_id, id),
  CONSTRAINT hold_amount_check CHECK (amount > 0)
) WITH (autovacuum_vacuum_scale_factor = 0.5, autovacuum_vacuum_threshold = 20000);

-- For the sweeper alone. A B-tree would cost every hold a third index entry, and on a small table the planner
-- would rather read all of it than look holds up by their key.
CREATE INDEX hold_expires_at_idx ON hold USING brin (expires_at) WITH (pages_per_range = 16, autosummarize = on);

-- Credit arrives as grants. `expires_at` is what was agreed and orders the use; `ends_at` is the same or,
-- after a void, earlier.
CREATE TABLE credit_grant (
  account_id bigint NOT NULL,
  id uuid NOT NULL,
  source text NOT NULL,
  contra smallint NOT NULL,
  amount bigint NOT NULL,
  remaining bigint NOT NULL,
  -- What expiry, void and reversal took: neither remaining nor used.
  forfeited bigint NOT NULL DEFAULT 0,
  priority smallint NOT NULL,
  created_at timestamptz NOT NULL,
  expires_at timestamptz NOT NULL,
  ends_at timestamptz NOT NULL,
  voided boolean NOT NULL DEFAULT false,
  CONSTRAINT credit_grant_pkey PRIMARY KEY (account_id, id),
  CONSTRAINT credit_grant_source_check CHECK (source IN ('paid', 'promotional', 'refund', 'adjustment')),
  CONSTRAINT credit_grant_remaining_check CHECK (
    amount > 0 AND remaining >= 0 AND forfeited >= 0 AND remaining + forfeited <= amount)
);

-- The order of use is total: priority, expiry, age, id.
CREATE INDEX credit_grant_order_idx ON credit_grant (account_id, priority, expires_at, created_at, id)
  WHERE remaining > 0;

-- Who ordered a correction and why; one row per void, refund, reversal, adjustment, freeze and credit line. Each
-- has a transfer with the same id, of amount zero where nothing moves, so that the log knows every id.
CREATE TABLE operator_action (
  account_id bigint NOT NULL,
  id uuid NOT NULL,
  action text NOT NULL,
  original_id uuid,
  -- The other side of an adjustment; the others have theirs from the original.
  contra smallint,
  amount bigint NOT NULL,
  -- What a reversal wrote off because the credit was spent (above zero), and what later refunds brought back of
  -- it (below zero): credit whose money never came is not given out a second time.
  uncollected bigint NOT NULL DEFAULT 0,
  reason text NOT NULL,
  actor text NOT NULL,
  created_at timestamptz NOT NULL,
  CONSTRAINT operator_action_pkey PRIMARY KEY (account_id, id),
  CONSTRAINT operator_action_action_check CHECK (
    action IN ('void', 'refund', 'reverse', 'adjust', 'freeze', 'unfreeze', 'credit_line')),
  CONSTRAINT operator_action_reason_check CHECK (length(reason) BETWEEN 1 AND 500),
  CONSTRAINT operator_action_actor_check CHECK (length(actor) BETWEEN 1 AND 200)
);

CREATE INDEX operator_action_original_idx ON operator_action (account_id, original_id)
  WHERE original_id IS NOT NULL;

CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION '% of % is refused: book a correction instead', tg_op, tg_table_name
    USING ERRCODE = 'restrict_violation';
END $$;

CREATE TRIGGER transfer_append_only BEFORE UPDATE OR DELETE ON transfer
  FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER transfer_no_truncate BEFORE TRUNCATE ON transfer
  FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
-- Accounts and grants change, and never go. What a grant was agreed to be stays.
CREATE TRIGGER account_no_delete BEFORE DELETE ON account
  FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER account_no_truncate BEFORE TRUNCATE ON account
  FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER credit_grant_no_delete BEFORE DELETE ON credit_grant
  FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER credit_grant_terms BEFORE UPDATE OF account_id, id, source, contra, amount, priority, created_at, expires_at
  ON credit_grant FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER credit_grant_no_truncate BEFORE TRUNCATE ON credit_grant
  FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER hold_no_truncate BEFORE TRUNCATE ON hold
  FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER operator_action_append_only BEFORE UPDATE OR DELETE ON operator_action
  FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER operator_action_no_truncate BEFORE TRUNCATE ON operator_action
  FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- Opening is idempotent; the same number in another environment is a conflict.
-- Status as everywhere in the ledger: 0 applied, 1 replayed, 4 conflict (src/ledger/status.ts).
CREATE FUNCTION open_account(
  p_account bigint, p_environment text, p_now timestamptz DEFAULT NULL, OUT status smallint
) LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
  INSERT INTO account (account_id, environment, created_at)
  VALUES (p_account, p_environment, coalesce(p_now, clock_timestamp()))
  -- Whichever unique key a racing caller meets first: both say that the account exists.
  ON CONFLICT DO NOTHING;
  IF FOUND THEN
    status := 0;
  ELSIF EXISTS (SELECT FROM account WHERE account_id = p_account AND environment = p_environment) THEN
    status := 1;
  ELSE
    status := 4;
  END IF;
END $$;
