-- Secrets that are asked for: by us, and of us.

CREATE TABLE secret_request (
  name TEXT NOT NULL,
  body BLOB NOT NULL,
  PRIMARY KEY (name)
) WITHOUT ROWID;

CREATE TABLE received_secret_request (
  device_id TEXT NOT NULL,
  request_id TEXT NOT NULL,
  body BLOB NOT NULL,
  PRIMARY KEY (device_id, request_id)
) WITHOUT ROWID;
