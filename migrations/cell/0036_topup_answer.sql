-- Answers that calls are repeated with hold voucher codes, so `body` is sealed (src/lib/sealed.ts) as the codes
-- themselves are. What was stored before stays readable in its last hours.
UPDATE topup_call SET body = 'plain.' || body WHERE body IS NOT NULL;
