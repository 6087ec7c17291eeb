-- Whether an account has a payment whose outcome is unknown is asked before each offer to it. The index holds
-- such payments alone, so it is next to empty and costs the others nothing.
CREATE INDEX payment_pending_idx ON payment (account_id) WHERE state = 'pending';
