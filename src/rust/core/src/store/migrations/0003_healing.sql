-- What keeps sessions healthy: Olm messages that were read, sessions that are to be replaced, room
-- keys that were withheld, and requests for room keys, ours and those of others.

CREATE TABLE olm_message (
  tag TEXT PRIMARY KEY,
  number INTEGER NOT NULL,
  body BLOB NOT NULL
) WITHOUT ROWID;
CREATE INDEX olm_message_number ON olm_message (number);

CREATE TABLE olm_repair (
  identity_key TEXT PRIMARY KEY,
  is_due INTEGER NOT NULL,
  body BLOB NOT NULL
) WITHOUT ROWID;

CREATE TABLE withheld_key (
  room_id TEXT NOT NULL,
  session_id TEXT NOT NULL,
  sender TEXT NOT NULL,
  number INTEGER NOT NULL,
  body BLOB NOT NULL,
  PRIMARY KEY (room_id, session_id, sender)
) WITHOUT ROWID;
CREATE INDEX withheld_key_number ON withheld_key (number);

CREATE TABLE key_request (
  room_id TEXT NOT NULL,
  session_id TEXT NOT NULL,
  body BLOB NOT NULL,
  PRIMARY KEY (room_id, session_id)
) WITHOUT ROWID;

CREATE TABLE received_request (
  user_id TEXT NOT NULL,
  device_id TEXT NOT NULL,
  request_id TEXT NOT NULL,
  body BLOB NOT NULL,
  PRIMARY KEY (user_id, device_id, request_id)
) WITHOUT ROWID;
