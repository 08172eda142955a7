-- Requests that failed: each waits by itself before it is tried again.

CREATE TABLE failure (
  subject TEXT PRIMARY KEY,
  number INTEGER NOT NULL,
  body BLOB NOT NULL
) WITHOUT ROWID;
CREATE INDEX failure_number ON failure (number);
