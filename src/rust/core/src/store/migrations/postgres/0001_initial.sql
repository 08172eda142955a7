-- The whole schema on PostgreSQL, version 1: the tables that SQLite has after its steps, in a schema of their own, for any
-- number of stores.
--
-- Texts are kept as bytes. What others send can hold a NUL, which PostgreSQL's text cannot; and bytes are in the
-- same order whatever the language of the database. An index takes at most a third of a page, so a text that is too long
-- for it is shortened in its column, and stands whole in `long_texts`: see postgres/long_texts.rs.

CREATE TABLE mxcrypt.store (
  number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  name bytea NOT NULL UNIQUE,
  id bytea NOT NULL CHECK (length(id) = 16),
  -- Somebody waits for commits until then.
  awaited_until timestamptz NOT NULL DEFAULT '-infinity'
);

-- Which transaction of each process was committed last: what a process finds here when its connection was lost while
-- it committed.
CREATE TABLE mxcrypt.worker (
  store bigint NOT NULL,
  worker bytea NOT NULL,
  commits bigint NOT NULL,
  committed_at timestamptz NOT NULL,
  PRIMARY KEY (store, worker)
);

CREATE TABLE mxcrypt.counter (
  store bigint NOT NULL,
  name bytea NOT NULL,
  value bigint NOT NULL,
  PRIMARY KEY (store, name)
);

CREATE TABLE mxcrypt.single (
  store bigint NOT NULL,
  name bytea NOT NULL,
  long_texts bytea NOT NULL,
  body bytea NOT NULL,
  PRIMARY KEY (store, name)
);

CREATE TABLE mxcrypt.olm_session (
  store bigint NOT NULL,
  identity_key bytea NOT NULL,
  session_id bytea NOT NULL,
  user_id bytea NOT NULL,
  long_texts bytea NOT NULL,
  body bytea NOT NULL,
  PRIMARY KEY (store, identity_key, session_id)
);

CREATE TABLE mxcrypt.inbound_session (
  store bigint NOT NULL,
  room_id bytea NOT NULL,
  session_id bytea NOT NULL,
  sender bytea NOT NULL,
  changed bigint NOT NULL,
  long_texts bytea NOT NULL,
  body bytea NOT NULL,
  PRIMARY KEY (store, room_id, session_id, sender)
);
CREATE INDEX inbound_session_changed ON mxcrypt.inbound_session (store, changed);

CREATE TABLE mxcrypt.outbound_session (
  store bigint NOT NULL,
  room_id bytea NOT NULL,
  long_texts bytea NOT NULL,
  body bytea NOT NULL,
  PRIMARY KEY (store, room_id)
);

CREATE TABLE mxcrypt.key_share (
  store bigint NOT NULL,
  session_id bytea NOT NULL,
  user_id bytea NOT NULL,
  device_id bytea NOT NULL,
  long_texts bytea NOT NULL,
  body bytea NOT NULL,
  PRIMARY KEY (store, session_id, user_id, device_id)
);

CREATE TABLE mxcrypt.device_list (
  store bigint NOT NULL,
  user_id bytea NOT NULL,
  outdated bigint NOT NULL,
  long_texts bytea NOT NULL,
  body bytea NOT NULL,
  PRIMARY KEY (store, user_id)
);
CREATE INDEX device_list_outdated ON mxcrypt.device_list (store, outdated);

CREATE TABLE mxcrypt.device (
  store bigint NOT NULL,
  user_id bytea NOT NULL,
  device_id bytea NOT NULL,
  identity_key bytea NOT NULL,
  long_texts bytea NOT NULL,
  body bytea NOT NULL,
  PRIMARY KEY (store, user_id, device_id)
);
CREATE INDEX device_identity_key ON mxcrypt.device (store, identity_key);

CREATE TABLE mxcrypt.room (
  store bigint NOT NULL,
  room_id bytea NOT NULL,
  long_texts bytea NOT NULL,
  body bytea NOT NULL,
  PRIMARY KEY (store, room_id)
);

CREATE TABLE mxcrypt.member (
  store bigint NOT NULL,
  room_id bytea NOT NULL,
  user_id bytea NOT NULL,
  long_texts bytea NOT NULL,
  body bytea NOT NULL,
  PRIMARY KEY (store, room_id, user_id)
);
CREATE INDEX member_user ON mxcrypt.member (store, user_id);

CREATE TABLE mxcrypt.request (
  store bigint NOT NULL,
  number bigint NOT NULL,
  kind bytea NOT NULL,
  long_texts bytea NOT NULL,
  body bytea NOT NULL,
  PRIMARY KEY (store, number)
);

CREATE TABLE mxcrypt.outbox (
  store bigint NOT NULL,
  number bigint NOT NULL,
  room_id bytea NOT NULL,
  state bytea NOT NULL,
  long_texts bytea NOT NULL,
  body bytea NOT NULL,
  PRIMARY KEY (store, number)
);
CREATE INDEX outbox_state ON mxcrypt.outbox (store, state, number);
CREATE INDEX outbox_room ON mxcrypt.outbox (store, state, room_id, number);

CREATE TABLE mxcrypt.inbox (
  store bigint NOT NULL,
  number bigint NOT NULL,
  long_texts bytea NOT NULL,
  body bytea NOT NULL,
  PRIMARY KEY (store, number)
);

CREATE TABLE mxcrypt.consumer (
  store bigint NOT NULL,
  name bytea NOT NULL,
  long_texts bytea NOT NULL,
  body bytea NOT NULL,
  PRIMARY KEY (store, name)
);

CREATE TABLE mxcrypt.waiting_event (
  store bigint NOT NULL,
  room_id bytea NOT NULL,
  session_id bytea NOT NULL,
  event_id bytea NOT NULL,
  sender bytea NOT NULL,
  received_at bigint NOT NULL,
  long_texts bytea NOT NULL,
  body bytea NOT NULL,
  PRIMARY KEY (store, room_id, session_id, event_id)
);
CREATE INDEX waiting_event_received_at ON mxcrypt.waiting_event (store, received_at);
CREATE INDEX waiting_event_sender ON mxcrypt.waiting_event (store, sender);

CREATE TABLE mxcrypt.held_timeline (
  store bigint NOT NULL,
  room_id bytea NOT NULL,
  number bigint NOT NULL,
  is_gap bigint NOT NULL,
  long_texts bytea NOT NULL,
  body bytea NOT NULL,
  PRIMARY KEY (store, room_id, number)
);
CREATE INDEX held_timeline_gap ON mxcrypt.held_timeline (store, is_gap, room_id, number);

CREATE TABLE mxcrypt.identity (
  store bigint NOT NULL,
  user_id bytea NOT NULL,
  long_texts bytea NOT NULL,
  body bytea NOT NULL,
  PRIMARY KEY (store, user_id)
);

CREATE TABLE mxcrypt.olm_message (
  store bigint NOT NULL,
  tag bytea NOT NULL,
  number bigint NOT NULL,
  long_texts bytea NOT NULL,
  body bytea NOT NULL,
  PRIMARY KEY (store, tag)
);
CREATE INDEX olm_message_number ON mxcrypt.olm_message (store, number);

CREATE TABLE mxcrypt.withheld_key (
  store bigint NOT NULL,
  room_id bytea NOT NULL,
  session_id bytea NOT NULL,
  sender bytea NOT NULL,
  number bigint NOT NULL,
  long_texts bytea NOT NULL,
  body bytea NOT NULL,
  PRIMARY KEY (store, room_id, session_id, sender)
);
CREATE INDEX withheld_key_sender ON mxcrypt.withheld_key (store, sender);
CREATE INDEX withheld_key_number ON mxcrypt.withheld_key (store, number);

CREATE TABLE mxcrypt.received_request (
  store bigint NOT NULL,
  user_id bytea NOT NULL,
  device_id bytea NOT NULL,
  request_id bytea NOT NULL,
  long_texts bytea NOT NULL,
  body bytea NOT NULL,
  PRIMARY KEY (store, user_id, device_id, request_id)
);

CREATE TABLE mxcrypt.original (
  store bigint NOT NULL,
  room_id bytea NOT NULL,
  event_id bytea NOT NULL,
  number bigint NOT NULL,
  long_texts bytea NOT NULL,
  body bytea NOT NULL,
  PRIMARY KEY (store, room_id, event_id)
);
CREATE INDEX original_number ON mxcrypt.original (store, number);

CREATE TABLE mxcrypt.secret_request (
  store bigint NOT NULL,
  name bytea NOT NULL,
  long_texts bytea NOT NULL,
  body bytea NOT NULL,
  PRIMARY KEY (store, name)
);

CREATE TABLE mxcrypt.received_secret_request (
  store bigint NOT NULL,
  device_id bytea NOT NULL,
  request_id bytea NOT NULL,
  long_texts bytea NOT NULL,
  body bytea NOT NULL,
  PRIMARY KEY (store, device_id, request_id)
);

CREATE TABLE mxcrypt.verification (
  store bigint NOT NULL,
  number bigint NOT NULL,
  long_texts bytea NOT NULL,
  body bytea NOT NULL,
  PRIMARY KEY (store, number)
);

CREATE TABLE mxcrypt.own_bundle (
  store bigint NOT NULL,
  number bigint NOT NULL,
  long_texts bytea NOT NULL,
  body bytea NOT NULL,
  PRIMARY KEY (store, number)
);

CREATE TABLE mxcrypt.received_bundle (
  store bigint NOT NULL,
  room_id bytea NOT NULL,
  sender bytea NOT NULL,
  number bigint NOT NULL,
  long_texts bytea NOT NULL,
  body bytea NOT NULL,
  PRIMARY KEY (store, room_id, sender)
);
CREATE INDEX received_bundle_number ON mxcrypt.received_bundle (store, number);

CREATE TABLE mxcrypt.key_request (
  store bigint NOT NULL,
  room_id bytea NOT NULL,
  session_id bytea NOT NULL,
  sender bytea NOT NULL,
  long_texts bytea NOT NULL,
  body bytea NOT NULL,
  PRIMARY KEY (store, room_id, session_id)
);
CREATE INDEX key_request_sender ON mxcrypt.key_request (store, sender);

CREATE TABLE mxcrypt.backup_request (
  store bigint NOT NULL,
  room_id bytea NOT NULL,
  session_id bytea NOT NULL,
  sender bytea NOT NULL,
  long_texts bytea NOT NULL,
  body bytea NOT NULL,
  PRIMARY KEY (store, room_id, session_id)
);
CREATE INDEX backup_request_sender ON mxcrypt.backup_request (store, sender);

CREATE TABLE mxcrypt.taken_event (
  store bigint NOT NULL,
  room_id bytea NOT NULL,
  event_id bytea NOT NULL,
  digest bytea NOT NULL,
  number bigint NOT NULL,
  long_texts bytea NOT NULL,
  body bytea NOT NULL,
  PRIMARY KEY (store, room_id, event_id, digest)
);
CREATE INDEX taken_event_number ON mxcrypt.taken_event (store, number);

CREATE TABLE mxcrypt.olm_repair (
  store bigint NOT NULL,
  user_id bytea NOT NULL,
  identity_key bytea NOT NULL,
  is_stranger bigint NOT NULL,
  long_texts bytea NOT NULL,
  body bytea NOT NULL,
  PRIMARY KEY (store, user_id, identity_key)
);
CREATE INDEX olm_repair_stranger ON mxcrypt.olm_repair (store, is_stranger);

CREATE TABLE mxcrypt.failure (
  store bigint NOT NULL,
  subject bytea NOT NULL,
  number bigint NOT NULL,
  long_texts bytea NOT NULL,
  body bytea NOT NULL,
  PRIMARY KEY (store, subject)
);
CREATE INDEX failure_number ON mxcrypt.failure (store, number);

CREATE TABLE mxcrypt.archived_room (
  store bigint NOT NULL,
  room_id bytea NOT NULL,
  long_texts bytea NOT NULL,
  body bytea NOT NULL,
  PRIMARY KEY (store, room_id)
);

CREATE TABLE mxcrypt.archived_event (
  store bigint NOT NULL,
  room_id bytea NOT NULL,
  sent_at bigint NOT NULL,
  number bigint NOT NULL,
  event_id bytea NOT NULL,
  long_texts bytea NOT NULL,
  body bytea NOT NULL,
  PRIMARY KEY (store, room_id, sent_at, number)
);
CREATE INDEX archived_event_id ON mxcrypt.archived_event (store, room_id, event_id);

CREATE TABLE mxcrypt.archived_edit (
  store bigint NOT NULL,
  room_id bytea NOT NULL,
  original bytea NOT NULL,
  event_id bytea NOT NULL,
  long_texts bytea NOT NULL,
  body bytea NOT NULL,
  PRIMARY KEY (store, room_id, original, event_id)
);

CREATE TABLE mxcrypt.archived_unread (
  store bigint NOT NULL,
  room_id bytea NOT NULL,
  session_id bytea NOT NULL,
  event_id bytea NOT NULL,
  long_texts bytea NOT NULL,
  body bytea NOT NULL,
  PRIMARY KEY (store, room_id, session_id, event_id)
);

CREATE TABLE mxcrypt.archived_redaction (
  store bigint NOT NULL,
  room_id bytea NOT NULL,
  event_id bytea NOT NULL,
  long_texts bytea NOT NULL,
  body bytea NOT NULL,
  PRIMARY KEY (store, room_id, event_id)
);

CREATE TABLE mxcrypt.archived_media (
  store bigint NOT NULL,
  room_id bytea NOT NULL,
  event_id bytea NOT NULL,
  file_name bytea NOT NULL,
  long_texts bytea NOT NULL,
  body bytea NOT NULL,
  PRIMARY KEY (store, room_id, event_id)
);
CREATE INDEX archived_media_file ON mxcrypt.archived_media (store, file_name);

CREATE TABLE mxcrypt.heartbeat (
  store bigint NOT NULL,
  number bigint NOT NULL,
  long_texts bytea NOT NULL,
  body bytea NOT NULL,
  PRIMARY KEY (store, number)
);

CREATE TABLE mxcrypt.owed_key (
  store bigint NOT NULL,
  user_id bytea NOT NULL,
  device_id bytea NOT NULL,
  session_id bytea NOT NULL,
  long_texts bytea NOT NULL,
  body bytea NOT NULL,
  PRIMARY KEY (store, user_id, device_id, session_id)
);
CREATE INDEX owed_key_session_id ON mxcrypt.owed_key (store, session_id);

CREATE TABLE mxcrypt.message_index (
  store bigint NOT NULL,
  block bigint NOT NULL,
  long_texts bytea NOT NULL,
  body bytea NOT NULL,
  PRIMARY KEY (store, block)
);

CREATE TABLE mxcrypt.known_event (
  store bigint NOT NULL,
  event bigint NOT NULL,
  generation bigint NOT NULL,
  long_texts bytea NOT NULL,
  body bytea NOT NULL,
  PRIMARY KEY (store, event)
);

CREATE TABLE mxcrypt.event_facts (
  store bigint NOT NULL,
  number bigint NOT NULL,
  generation bigint NOT NULL,
  long_texts bytea NOT NULL,
  body bytea NOT NULL,
  PRIMARY KEY (store, number)
);

CREATE TABLE mxcrypt.file_piece (
  store bigint NOT NULL,
  name bytea NOT NULL,
  number bigint NOT NULL,
  long_texts bytea NOT NULL,
  body bytea NOT NULL,
  PRIMARY KEY (store, name, number)
);
