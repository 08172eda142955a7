-- Messages that the server sends later, unless it is told not to. An older version, which does not know them, must
-- not open this store: it would send the one that waits in the outbox at once.

CREATE TABLE heartbeat (
  number INTEGER PRIMARY KEY,
  body BLOB NOT NULL
);
