-- Room keys that a device should have been given, and could not be.

CREATE TABLE owed_key (
  user_id TEXT NOT NULL,
  device_id TEXT NOT NULL,
  session_id TEXT NOT NULL,
  due_at INTEGER NOT NULL,
  body BLOB NOT NULL,
  PRIMARY KEY (user_id, device_id, session_id)
) WITHOUT ROWID;
CREATE INDEX owed_key_due_at ON owed_key (due_at);
CREATE INDEX owed_key_session_id ON owed_key (session_id);
