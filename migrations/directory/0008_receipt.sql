-- What arrived at our receivers, looked up on chain independently of the payments. A receiver belongs to the
-- whole deployment and not to a cell.

-- Up to which block everything that arrived is accounted for: credited, or listed in unapplied_receipt. Only
-- blocks that can not be undone count.
CREATE TABLE receipt_cursor (
  network text NOT NULL,
  asset text NOT NULL,
  pay_to text NOT NULL,
  scanned_to bigint NOT NULL,
  updated_at timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT receipt_cursor_pkey PRIMARY KEY (network, asset, pay_to)
);

-- Money at a receiver of ours that is in nobody's credit. Rows are closed and never deleted: by the credit
-- that came after all, or by a person who says what became of the money.
CREATE TABLE unapplied_receipt (
  network text NOT NULL,
  transaction text NOT NULL,
  log_index integer NOT NULL,
  environment text NOT NULL,
  block_number bigint NOT NULL,
  asset text NOT NULL,
  pay_to text NOT NULL,
  sender text NOT NULL,
  amount_base_units numeric(78, 0) NOT NULL,
  -- The payment that it settles; null for money that no payment of ours explains (suspense).
  payment_id uuid,
  found_at timestamptz NOT NULL DEFAULT now(),
  closed_at timestamptz,
  closed_reason text,
  CONSTRAINT unapplied_receipt_pkey PRIMARY KEY (network, transaction, log_index),
  CONSTRAINT unapplied_receipt_environment_check CHECK (environment IN ('live', 'test')),
  CONSTRAINT unapplied_receipt_amount_check CHECK (amount_base_units > 0),
  CONSTRAINT unapplied_receipt_closed_check CHECK (
    (closed_at IS NULL) = (closed_reason IS NULL) AND length(closed_reason) BETWEEN 1 AND 500)
);
CREATE INDEX unapplied_receipt_open_idx ON unapplied_receipt (network, found_at) WHERE closed_at IS NULL;
