-- An Olm session belongs to a device of a user, with both of its keys: anybody can publish a device with
-- the Curve25519 key of another. Sessions from before have no user in this column. They are sent with only
-- where one device is known by their key.

ALTER TABLE olm_session ADD COLUMN user_id TEXT NOT NULL DEFAULT '';

-- Repairs were found by a Curve25519 key alone, and rows are sealed to their key columns. Pending ones are
-- dropped: the next message that cannot be read makes another.
DROP TABLE olm_repair;
CREATE TABLE olm_repair (
  user_id TEXT NOT NULL,
  identity_key TEXT NOT NULL,
  is_stranger INTEGER NOT NULL,
  body BLOB NOT NULL,
  PRIMARY KEY (user_id, identity_key)
) WITHOUT ROWID;
CREATE INDEX olm_repair_stranger ON olm_repair (is_stranger);
