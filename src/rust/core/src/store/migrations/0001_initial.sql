-- The whole schema, version 1. `body` is always sealed (AES-256-GCM under a key of its table,
-- bound to store, table and key columns). SECURITY.md names the columns that are not.
--
-- Only tables with small bodies are WITHOUT ROWID: SQLite keeps at most a quarter of a page of such a
-- row in place, and gives the rest a page of its own.

CREATE TABLE store (
  id BLOB NOT NULL CHECK (length(id) = 16)
);

CREATE TABLE counter (
  name TEXT PRIMARY KEY,
  value INTEGER NOT NULL
) WITHOUT ROWID;

-- One row each of: key check, binding, account, key upload, sync token.
CREATE TABLE single (
  name TEXT PRIMARY KEY,
  body BLOB NOT NULL
);

CREATE TABLE olm_session (
  identity_key TEXT NOT NULL,
  session_id TEXT NOT NULL,
  body BLOB NOT NULL,
  PRIMARY KEY (identity_key, session_id)
);

CREATE TABLE inbound_session (
  room_id TEXT NOT NULL,
  session_id TEXT NOT NULL,
  sender TEXT NOT NULL,
  body BLOB NOT NULL,
  PRIMARY KEY (room_id, session_id, sender)
);

CREATE TABLE outbound_session (
  room_id TEXT PRIMARY KEY,
  body BLOB NOT NULL
);

-- Who was given the key of an outbound session.
CREATE TABLE key_share (
  session_id TEXT NOT NULL,
  user_id TEXT NOT NULL,
  device_id TEXT NOT NULL,
  body BLOB NOT NULL,
  PRIMARY KEY (session_id, user_id, device_id)
) WITHOUT ROWID;

-- Which event an index of a session stands for. `tag` is a keyed hash of event id and timestamp.
CREATE TABLE message_index (
  session INTEGER NOT NULL,
  message_index INTEGER NOT NULL,
  tag BLOB NOT NULL CHECK (length(tag) = 16),
  PRIMARY KEY (session, message_index)
) WITHOUT ROWID;

CREATE TABLE device_list (
  user_id TEXT PRIMARY KEY,
  outdated INTEGER NOT NULL,
  body BLOB NOT NULL
) WITHOUT ROWID;
CREATE INDEX device_list_outdated ON device_list (outdated);

CREATE TABLE device (
  user_id TEXT NOT NULL,
  device_id TEXT NOT NULL,
  identity_key TEXT NOT NULL,
  body BLOB NOT NULL,
  PRIMARY KEY (user_id, device_id)
);
CREATE INDEX device_identity_key ON device (identity_key);

CREATE TABLE room (
  room_id TEXT PRIMARY KEY,
  body BLOB NOT NULL
);

CREATE TABLE member (
  room_id TEXT NOT NULL,
  user_id TEXT NOT NULL,
  body BLOB NOT NULL,
  PRIMARY KEY (room_id, user_id)
) WITHOUT ROWID;
CREATE INDEX member_user ON member (user_id);

-- Requests that are with the server, so that none is asked twice at a time.
CREATE TABLE request (
  number INTEGER PRIMARY KEY,
  kind TEXT NOT NULL,
  body BLOB NOT NULL
);

-- What must reach the server, first in, first out a room.
CREATE TABLE outbox (
  number INTEGER PRIMARY KEY,
  room_id TEXT NOT NULL,
  state TEXT NOT NULL,
  body BLOB NOT NULL
);
CREATE INDEX outbox_room ON outbox (state, room_id, number);
CREATE INDEX outbox_state ON outbox (state, number);

-- What a server said happened in a room, in the order in which it is handed over.
CREATE TABLE inbox (
  number INTEGER PRIMARY KEY,
  body BLOB NOT NULL
);

CREATE TABLE consumer (
  name TEXT PRIMARY KEY,
  body BLOB NOT NULL
) WITHOUT ROWID;

-- Events that cannot be read until a key comes.
CREATE TABLE waiting_event (
  room_id TEXT NOT NULL,
  session_id TEXT NOT NULL,
  event_id TEXT NOT NULL,
  body BLOB NOT NULL,
  PRIMARY KEY (room_id, session_id, event_id)
);

-- The part of a timeline that stands behind a gap, and the gap itself.
CREATE TABLE held_timeline (
  room_id TEXT NOT NULL,
  number INTEGER NOT NULL,
  is_gap INTEGER NOT NULL,
  body BLOB NOT NULL,
  PRIMARY KEY (room_id, number)
);
CREATE INDEX held_timeline_gap ON held_timeline (is_gap, room_id, number);
