-- The log is cut by time: ids are UUIDv7, whose first 48 bits are Unix milliseconds, so a range of ids is
-- a range of time and the key (account, id) stays unique over all partitions.

-- Smallest id of an instant. Stable and not strict, so that it is inlined: a call costs ten times the work.
CREATE FUNCTION id_at(p_at timestamptz) RETURNS uuid LANGUAGE sql STABLE PARALLEL SAFE AS $$
  SELECT encode(
    substring(int8send(floor(extract(epoch FROM p_at) * 1000)::bigint) FROM 3) || '\x00000000000000000000'::bytea,
    'hex')::uuid
$$;

-- The instant of an id, to the millisecond.
CREATE FUNCTION id_time(p_id uuid) RETURNS timestamptz LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
  SELECT to_timestamp(('x' || left(replace(p_id::text, '-', ''), 12))::bit(48)::bigint / 1000.0)
$$;

-- First day of the month of an id, and so of the partition that holds it.
CREATE FUNCTION id_month(p_id uuid) RETURNS date LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
  SELECT date_trunc('month', id_time(p_id) AT TIME ZONE 'UTC')::date
$$;

-- A new UUIDv7 for transfers that the ledger itself makes (PostgreSQL has its own only from 18 on).
CREATE FUNCTION new_id(p_at timestamptz) RETURNS uuid LANGUAGE sql VOLATILE STRICT AS $$
  SELECT (left(id_at(p_at)::text, 14) || '7' || substring(gen_random_uuid()::text FROM 16))::uuid
$$;

-- Ids that the attached partitions can hold. Below: the proof of a replay is gone, so it is refused.
CREATE TABLE transfer_window (
  singleton boolean NOT NULL DEFAULT true,
  id_from uuid NOT NULL,
  id_until uuid NOT NULL,
  CONSTRAINT transfer_window_pkey PRIMARY KEY (singleton),
  CONSTRAINT transfer_window_singleton_check CHECK (singleton)
);

-- What was detached, per account and other side: enough to prove balances, sequences and system accounts without
-- the rows. Checkpoints are in the chain of seals.
CREATE TABLE checkpoint (
  account_id bigint NOT NULL,
  month date NOT NULL,
  contra smallint NOT NULL,
  transfers bigint NOT NULL,
  amount numeric NOT NULL,
  seqs int8multirange NOT NULL,
  created_at timestamptz NOT NULL,
  CONSTRAINT checkpoint_pkey PRIMARY KEY (account_id, month, contra)
);

CREATE TRIGGER checkpoint_append_only BEFORE UPDATE OR DELETE ON checkpoint
  FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER checkpoint_no_truncate BEFORE TRUNCATE ON checkpoint
  FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- Makes sure that p_months months from p_first on exist, and returns how many were added. The log grows without
-- a gap from where it ends, and never backwards: a month that has left it stays closed. A partition is built
-- apart and then attached, which does not stop writers as CREATE … PARTITION OF would.
CREATE FUNCTION ensure_transfer_partitions(p_first timestamptz, p_months int) RETURNS int
LANGUAGE plpgsql SET search_path FROM CURRENT SET timezone = 'UTC' AS $$
DECLARE
  month date;
  until date := date_trunc('month', p_first) + make_interval(months => p_months);
  part text;
  added int := 0;
BEGIN
  -- One maker at a time; the lock does not touch readers or writers of the log.
  LOCK TABLE transfer_window IN SHARE ROW EXCLUSIVE MODE;
  SELECT id_month(id_until) INTO month FROM transfer_window;
  month := coalesce(month, date_trunc('month', p_first));
  IF until > month + interval '10 years' THEN
    RAISE EXCEPTION 'partitions up to % are more than ten years', until USING ERRCODE = 'invalid_parameter_value';
  END IF;
  WHILE month < until LOOP
    part := 'transfer_' || to_char(month, 'YYYY_MM');
    EXECUTE format('CREATE TABLE %I (LIKE transfer INCLUDING CONSTRAINTS)', part);
    EXECUTE format('ALTER TABLE transfer ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', part,
      id_at(month::timestamptz), id_at((month + interval '1 month')::timestamptz));
    EXECUTE format('CREATE TRIGGER transfer_no_truncate BEFORE TRUNCATE ON %I
      FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()', part);
    INSERT INTO transfer_window (id_from, id_until)
    VALUES (id_at(month::timestamptz), id_at((month + interval '1 month')::timestamptz))
    ON CONFLICT (singleton) DO UPDATE SET id_until = excluded.id_until;
    added := added + 1;
    month := month + interval '1 month';
  END LOOP;
  RETURN added;
END $$;

-- Enough for the id of a payment that was offered last month, and for a maker that stands still for a quarter.
SELECT ensure_transfer_partitions(now() - interval '1 month', 5);
