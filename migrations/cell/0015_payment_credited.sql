-- The books and the chain are compared block by block: which payments were credited by a transfer of these blocks.
CREATE INDEX payment_credited_idx ON payment (network, block_number) WHERE state = 'credited';
