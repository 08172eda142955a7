-- Events that edits may come of, and what such edits are judged by.

CREATE TABLE original (
  room_id TEXT NOT NULL,
  event_id TEXT NOT NULL,
  number INTEGER NOT NULL,
  body BLOB NOT NULL,
  PRIMARY KEY (room_id, event_id)
) WITHOUT ROWID;
CREATE INDEX original_number ON original (number);
