-- What a key may spend in a calendar month (UTC), in nano-USD; null for no limit but the wallet's.
ALTER TABLE api_key
  ADD COLUMN spending_cap bigint,
  ADD CONSTRAINT api_key_spending_cap_check CHECK (spending_cap > 0);

-- Whoever is sent a top-up has a wallet for each platform, known by the platform and the e-mail address, or by
-- the platform and the customer who sent it to itself. An address may be as long as 254 characters.
ALTER TABLE customer_identity
  DROP CONSTRAINT customer_identity_kind_check,
  DROP CONSTRAINT customer_identity_value_check,
  ADD CONSTRAINT customer_identity_kind_check CHECK (kind IN ('wallet', 'recipient')),
  ADD CONSTRAINT customer_identity_value_check CHECK (length(value) BETWEEN 1 AND 320);
