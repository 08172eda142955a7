-- The number of the last commit, and whose it was: who finds the one that it knows has missed nothing.

ALTER TABLE mxcrypt.store ADD COLUMN last_commit bytea NOT NULL DEFAULT '';
