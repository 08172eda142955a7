-- Room keys that a device should have been given, and could not be.

CREATE TABLE owed_key (
  user_id TEXT NOT NULL,
  device_id TEXT NOT NULL,
  session_id TEXT NOT NULL,
  body BLOB NOT NULL,
  PRIMARY KEY (user_id, device_id, session_id)
) WITHOUT ROWID;
CREATE INDEX owed_key_session_id ON owed_key (session_id);
