-- Who of the operator's people made a key, and who ended it; null for what its owner did.
ALTER TABLE api_key
  ADD COLUMN created_by text,
  ADD COLUMN revoked_by text,
  ADD CONSTRAINT api_key_created_by_check CHECK (length(created_by) BETWEEN 1 AND 200),
  ADD CONSTRAINT api_key_revoked_by_check CHECK (length(revoked_by) BETWEEN 1 AND 200),
  ADD CONSTRAINT api_key_revoked_check CHECK (revoked_by IS NULL OR revoked_at IS NOT NULL);
