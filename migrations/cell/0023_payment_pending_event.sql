-- Who waits for a payment wants to know that its outcome is not known yet. The state is changed by plain updates
-- in several places, so the event hangs on the change; it is a rare one.
CREATE FUNCTION note_payment_pending() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
  INSERT INTO outbox (event_id, account_id, environment, type, payload)
    VALUES (gen_random_uuid(), NEW.account_id, NEW.environment, 'payment.pending',
      jsonb_build_object('paymentId', NEW.payment_id, 'network', NEW.network, 'transaction', NEW.transaction,
        'reason', NEW.reason, 'source', NEW.source));
  RETURN NULL;
END $$;

CREATE TRIGGER payment_pending AFTER UPDATE OF state ON payment FOR EACH ROW
  WHEN (OLD.state = 'settling' AND NEW.state = 'pending') EXECUTE FUNCTION note_payment_pending();
