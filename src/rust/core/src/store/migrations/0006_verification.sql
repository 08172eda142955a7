-- Verifications between devices, under way or lately ended.

CREATE TABLE verification (
  number INTEGER PRIMARY KEY,
  body BLOB NOT NULL
);
