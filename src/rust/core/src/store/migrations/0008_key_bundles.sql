-- Bundles of room keys that those who invite share: ours, and those of others.

CREATE TABLE own_bundle (
  number INTEGER PRIMARY KEY,
  body BLOB NOT NULL
) WITHOUT ROWID;

CREATE TABLE received_bundle (
  room_id TEXT NOT NULL,
  sender TEXT NOT NULL,
  number INTEGER NOT NULL,
  body BLOB NOT NULL,
  PRIMARY KEY (room_id, sender)
) WITHOUT ROWID;
CREATE INDEX received_bundle_number ON received_bundle (number);
