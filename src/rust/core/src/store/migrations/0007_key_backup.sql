-- Which sessions are in the key backup: those whose number it has come to.

ALTER TABLE inbound_session ADD COLUMN changed INTEGER NOT NULL DEFAULT 0;
CREATE INDEX inbound_session_changed ON inbound_session (changed);

-- Room keys that are looked for in the key backup.
CREATE TABLE backup_request (
  room_id TEXT NOT NULL,
  session_id TEXT NOT NULL,
  body BLOB NOT NULL,
  PRIMARY KEY (room_id, session_id)
) WITHOUT ROWID;
