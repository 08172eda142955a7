-- Pieces of files that wait to be uploaded, for stores that several machines share (PostgreSQL): on one machine files wait
-- beside the store.
CREATE TABLE file_piece (
  name TEXT NOT NULL,
  number INTEGER NOT NULL,
  body BLOB NOT NULL,
  PRIMARY KEY (name, number)
);
