-- What waits for keys is bounded by its sender: somebody who floods us must not push out what others
-- sent. Requests that were made before name no sender in a column; the events that wait stay, and
-- their keys are looked for again with the next event.

ALTER TABLE waiting_event ADD COLUMN sender TEXT NOT NULL DEFAULT '';
ALTER TABLE waiting_event ADD COLUMN received_at INTEGER NOT NULL DEFAULT 0;
CREATE INDEX waiting_event_sender ON waiting_event (sender);
CREATE INDEX waiting_event_received_at ON waiting_event (received_at);

DROP TABLE key_request;
CREATE TABLE key_request (
  room_id TEXT NOT NULL,
  session_id TEXT NOT NULL,
  sender TEXT NOT NULL,
  body BLOB NOT NULL,
  PRIMARY KEY (room_id, session_id)
) WITHOUT ROWID;
CREATE INDEX key_request_sender ON key_request (sender);

DROP TABLE backup_request;
CREATE TABLE backup_request (
  room_id TEXT NOT NULL,
  session_id TEXT NOT NULL,
  sender TEXT NOT NULL,
  body BLOB NOT NULL,
  PRIMARY KEY (room_id, session_id)
) WITHOUT ROWID;
CREATE INDEX backup_request_sender ON backup_request (sender);

CREATE INDEX withheld_key_sender ON withheld_key (sender);
