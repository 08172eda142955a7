sessions <- mx_crypto_sessions_load(store)

res <- mx_send_encrypted(
  client, acct, sessions,
  room_id    = "!abc:example.org",
  content    = list(msgtype = "m.text", body = "the eagle lands at noon"),
  store_dir  = store,
  member_ids = c("@friend:example.org")
)
res$event_id
