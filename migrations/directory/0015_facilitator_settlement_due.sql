-- A payment that is settled for another seller is brought to its end as our own are: at start and on a timer, by
-- whichever replica claims it, also when the seller never asks again.
ALTER TABLE facilitator_settlement
  ADD COLUMN attempts integer NOT NULL DEFAULT 0,
  -- When it may be looked at next; a claim moves it ahead, which is the lease.
  ADD COLUMN due_at timestamptz NOT NULL DEFAULT now(),
  -- What is not known yet may say why, too.
  DROP CONSTRAINT facilitator_settlement_reason_check,
  ADD CONSTRAINT facilitator_settlement_reason_check
    CHECK (CASE state WHEN 'failed' THEN reason IS NOT NULL WHEN 'settled' THEN reason IS NULL ELSE true END);
CREATE INDEX facilitator_settlement_open_idx ON facilitator_settlement (due_at) WHERE state = 'settling';
