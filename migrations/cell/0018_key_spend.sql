-- What keys with a spending cap have spent, next to the accounts that they spend from. Counted before the charge, so
-- that calls at once share one cap; keys without a cap have no row.
CREATE TABLE key_spend (
  account_id bigint NOT NULL,
  key_id uuid NOT NULL,
  -- First day of the calendar month (UTC) that is counted.
  month date NOT NULL,
  spent bigint NOT NULL,
  CONSTRAINT key_spend_pkey PRIMARY KEY (account_id, key_id),
  CONSTRAINT key_spend_amount_check CHECK (spent >= 0)
) WITH (fillfactor = 50);
