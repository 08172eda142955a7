-- What a user wants to keep of rooms. An event is found by its place, and by its id. The index of ids is unique not
-- least because SQLite would visit all events of the room instead, to have them in order.

CREATE TABLE archived_room (
  room_id TEXT PRIMARY KEY,
  body BLOB NOT NULL
) WITHOUT ROWID;

CREATE TABLE archived_event (
  room_id TEXT NOT NULL,
  sent_at INTEGER NOT NULL,
  number INTEGER NOT NULL,
  event_id TEXT NOT NULL,
  body BLOB NOT NULL,
  PRIMARY KEY (room_id, sent_at, number)
) WITHOUT ROWID;
CREATE UNIQUE INDEX archived_event_id ON archived_event (room_id, event_id);

CREATE TABLE archived_edit (
  room_id TEXT NOT NULL,
  original TEXT NOT NULL,
  event_id TEXT NOT NULL,
  body BLOB NOT NULL,
  PRIMARY KEY (room_id, original, event_id)
) WITHOUT ROWID;

CREATE TABLE archived_unread (
  room_id TEXT NOT NULL,
  session_id TEXT NOT NULL,
  event_id TEXT NOT NULL,
  body BLOB NOT NULL,
  PRIMARY KEY (room_id, session_id, event_id)
) WITHOUT ROWID;

CREATE TABLE archived_redaction (
  room_id TEXT NOT NULL,
  event_id TEXT NOT NULL,
  body BLOB NOT NULL,
  PRIMARY KEY (room_id, event_id)
) WITHOUT ROWID;

CREATE TABLE archived_media (
  room_id TEXT NOT NULL,
  event_id TEXT NOT NULL,
  file_name TEXT NOT NULL,
  body BLOB NOT NULL,
  PRIMARY KEY (room_id, event_id)
) WITHOUT ROWID;
CREATE INDEX archived_media_file ON archived_media (file_name);
