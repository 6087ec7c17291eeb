-- The log's key with the id first. It is as unique, it has the account in it as before, and every lookup names both.
-- But ids are UUIDv7 and an operation's is new: its search and its entry now meet at the end of the index, in pages that
-- the operation before has just used. By account they met in a page of that account, one more page for nearly every
-- operation, which had to be fetched, and written whole to the WAL after every checkpoint. What reads an account's
-- rows in their order has transfer_seq_idx. Building this takes about a second for a million rows, in which nobody reads or
-- writes the log; while a long reader keeps it from beginning, nobody waits behind it for long: it gives up.
SET LOCAL lock_timeout = '5s';
ALTER TABLE transfer DROP CONSTRAINT transfer_pkey, ADD CONSTRAINT transfer_pkey PRIMARY KEY (id, account_id);
