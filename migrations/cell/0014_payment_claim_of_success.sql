-- Whether the payment's facilitator has said that it settled it. When the chain proves later that the money
-- did not move and can not move any more, that facilitator is not to be believed.
ALTER TABLE payment ADD COLUMN said_settled boolean NOT NULL DEFAULT false;
