-- A wallet whose payments were reverted, or failed on Solana, again and again is not given our gas for a while.
-- Asked before each claim; the index holds such payments alone, so it is next to empty and costs the others nothing.
CREATE INDEX payment_reverted_idx ON payment (payer, network, updated_at)
  WHERE state = 'failed' AND reason IN ('reverted', 'failed_on_chain');
