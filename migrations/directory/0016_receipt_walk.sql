-- Some nodes list what arrived at a receiver from the newest on only. Such a list is walked down to scanned_to, and a walk
-- that is interrupted goes on where it was: what lies between walk_from and walk_to is compared with the books already.
-- Only when the walk has come down does scanned_to move up to walk_to.
ALTER TABLE receipt_cursor
  ADD COLUMN walk_to bigint,
  ADD COLUMN walk_from bigint,
  -- The name of the last transaction that was listed.
  ADD COLUMN walk_next text,
  ADD CONSTRAINT receipt_cursor_walk_check
    CHECK ((walk_to IS NULL) = (walk_from IS NULL) AND (walk_to IS NULL) = (walk_next IS NULL));
