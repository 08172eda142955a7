-- Rows of a few bytes for each event that was received. `body` of these two tables is not sealed: it is made of keyed
-- hashes. What `original` and `taken_event` hold is brought into `known_event` with the key, when the store is opened:
-- see old_events.rs.

-- Which events the indices of a session stand for, 64 indices a row: `block` is 2^26 times the number of the session, and
-- the index without its last 6 bits. `body` says in 64 bits which of the indices are taken, then come their tags.
ALTER TABLE message_index RENAME TO single_message_index;
CREATE TABLE message_index (
  block INTEGER PRIMARY KEY,
  body BLOB NOT NULL
);
INSERT INTO message_index (block, body)
  SELECT
    (session << 26) | (message_index >> 6),
    unhex(
      printf('%016X', sum(1 << (message_index & 63)))
        || group_concat(hex(tag), '' ORDER BY message_index)
    )
  FROM single_message_index
  GROUP BY session, message_index >> 6;
DROP TABLE single_message_index;

-- Which events timelines brought, and what edits of them are judged by.
CREATE TABLE known_event (
  event INTEGER PRIMARY KEY,
  generation INTEGER NOT NULL,
  body BLOB NOT NULL CHECK (length(body) = 16)
);

-- What such rows refer to.
CREATE TABLE event_facts (
  number INTEGER PRIMARY KEY,
  generation INTEGER NOT NULL,
  body BLOB NOT NULL
);
