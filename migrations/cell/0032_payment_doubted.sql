-- A facilitator that says success early is believed for a while and no longer: what it said, and when, is kept on the
-- payment, and since when the chain has shown nothing of it although there was time enough. While a payment is in
-- doubt, its facilitator gets no new ones.
ALTER TABLE payment
  ADD COLUMN said_settled_at timestamptz,
  -- The transaction that it named then; null when it named none.
  ADD COLUMN said_transaction text,
  ADD COLUMN doubted_at timestamptz;
UPDATE payment SET said_settled_at = updated_at, said_transaction = transaction
  WHERE said_settled AND state IN ('settling', 'pending', 'reversed');

-- Asked every few seconds; it holds payments in doubt alone, so it is next to empty.
CREATE INDEX payment_doubted_idx ON payment (facilitator)
  WHERE doubted_at IS NOT NULL AND state IN ('settling', 'pending');
