-- Cross-signing keys of users.

CREATE TABLE identity (
  user_id TEXT PRIMARY KEY,
  body BLOB NOT NULL
);
