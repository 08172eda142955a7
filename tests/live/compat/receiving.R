res <- mx_sync_update(client, timeout = 30000L)

my_curve <- mxcrypt::mxc_account_identity_keys(acct)$curve25519

out <- mx_crypto_process_sync(acct, sessions, res$sync, my_curve,
                              self_id = client$user_id)
sessions <- out$sessions
mx_crypto_sessions_save(sessions, store)

for (ev in out$events) cat(ev$sender, ":", ev$body, "\n")
