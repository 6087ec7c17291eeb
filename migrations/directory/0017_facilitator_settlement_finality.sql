-- A settlement for another seller is watched, as our own credit is, until no reorganisation can undo it. When its transfer
-- is gone before that, it is open again and sent again, and whoever asks hears that.
ALTER TABLE facilitator_settlement
  -- Where its transfer is. Null where an older version settled it: then the first look finds it.
  ADD COLUMN log_index integer,
  ADD COLUMN block_number bigint,
  ADD COLUMN block_hash text,
  -- From then on no reorganisation can undo it, and nobody looks at it any more.
  ADD COLUMN final_at timestamptz,
  -- Since when the success that was told is not true any more; null while it is.
  ADD COLUMN undone_at timestamptz,
  -- What a person did about one that is undone for good.
  ADD COLUMN closed_at timestamptz,
  ADD COLUMN closed_reason text,
  ADD CONSTRAINT facilitator_settlement_undone_check CHECK (state <> 'settled' OR undone_at IS NULL),
  ADD CONSTRAINT facilitator_settlement_closed_check CHECK ((closed_at IS NULL) = (closed_reason IS NULL)),
  ADD CONSTRAINT facilitator_settlement_closed_reason_check CHECK (length(closed_reason) BETWEEN 1 AND 500);

-- No chain undoes a day.
UPDATE facilitator_settlement SET final_at = now()
  WHERE state = 'settled' AND updated_at < now() - interval '1 day';

CREATE INDEX facilitator_settlement_not_final_idx ON facilitator_settlement (due_at)
  WHERE state = 'settled' AND final_at IS NULL;
-- Next to empty: it holds those alone that a person has to look at.
CREATE INDEX facilitator_settlement_undone_idx ON facilitator_settlement (undone_at)
  WHERE undone_at IS NOT NULL AND closed_at IS NULL;
