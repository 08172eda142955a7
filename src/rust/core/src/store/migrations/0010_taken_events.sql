-- Events of timelines that were taken in, so that none is handed over twice.

CREATE TABLE taken_event (
  room_id TEXT NOT NULL,
  event_id TEXT NOT NULL,
  digest TEXT NOT NULL,
  number INTEGER NOT NULL,
  body BLOB NOT NULL,
  PRIMARY KEY (room_id, event_id, digest)
) WITHOUT ROWID;
CREATE INDEX taken_event_number ON taken_event (number);
