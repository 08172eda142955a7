# Written by tools/document.sh from src/rust/src. Do not edit by hand.
# nolint start

# Lets batches use at most `threads` threads.
core_limit_threads <- function(threads) .Call(wrap__core_limit_threads, threads)

# The versions of what is compiled in.
core_versions <- function() .Call(wrap__core_versions)

account_new <- function() .Call(wrap__account_new)

account_identity_keys <- function(account) .Call(wrap__account_identity_keys, account)

account_sign <- function(account, messages) .Call(wrap__account_sign, account, messages)

account_generate_one_time_keys <- function(account, n) .Call(wrap__account_generate_one_time_keys, account, n)

account_one_time_keys <- function(account) .Call(wrap__account_one_time_keys, account)

account_mark_published <- function(account) .Call(wrap__account_mark_published, account)

account_fallback_key <- function(account) .Call(wrap__account_fallback_key, account)

account_forget_fallback_key <- function(account) .Call(wrap__account_forget_fallback_key, account)

account_device_keys <- function(account, user_id, device_id) .Call(wrap__account_device_keys, account, user_id, device_id)

account_sign_one_time_key <- function(account, key, fallback, user_id, device_id) .Call(wrap__account_sign_one_time_key, account, key, fallback, user_id, device_id)

account_pickle <- function(account, key) .Call(wrap__account_pickle, account, key)

account_unpickle <- function(blob, key) .Call(wrap__account_unpickle, blob, key)

# `retention` in milliseconds, `NA` for ever; `largest_media` in bytes. `NULL` as it was.
machine_archive <- function(handle, room_id, retention, largest_media) .Call(wrap__machine_archive, handle, room_id, retention, largest_media)

# `NULL` if the room is not archived.
machine_archived_room <- function(handle, room_id) .Call(wrap__machine_archived_room, handle, room_id)

machine_archived_ids <- function(handle) .Call(wrap__machine_archived_ids, handle)

machine_archived_rooms <- function(handle) .Call(wrap__machine_archived_rooms, handle)

machine_forget_archive <- function(handle, room_id, before) .Call(wrap__machine_forget_archive, handle, room_id, before)

# How many events of the page cannot be read, and how many are none; `NULL` if it is not wanted any more.
machine_archive_page <- function(handle, room_id, from, body) .Call(wrap__machine_archive_page, handle, room_id, from, body)

machine_search_archived_keys <- function(handle, room_id) .Call(wrap__machine_search_archived_keys, handle, room_id)

# `part` holds since and until when in milliseconds, the time and the number of the last event of the part
# before, and how many events are wanted at most: `NA` for none.
machine_archived_part <- function(handle, room_id, part, unsigned, edits) .Call(wrap__machine_archived_part, handle, room_id, part, unsigned, edits)

machine_archived_events <- function(handle, room_id, event_ids, unsigned) .Call(wrap__machine_archived_events, handle, room_id, event_ids, unsigned)

machine_archived_texts <- function(handle, room_id, part, unsigned) .Call(wrap__machine_archived_texts, handle, room_id, part, unsigned)

# The events whose files are wanted; `names` and `sizes` are those of the files that are there.
machine_wanted_media <- function(handle, room_id, names, sizes) .Call(wrap__machine_wanted_media, handle, room_id, names, sizes)

# Where the file of an archived event is, and what opens it, `NULL` if nothing has to; `NULL` if there is none.
machine_archived_attachment <- function(handle, room_id, event_id) .Call(wrap__machine_archived_attachment, handle, room_id, event_id)

# Whether the file `name` is wanted; `key` is what opens it if its event does not say it.
machine_keep_media <- function(handle, room_id, event_id, name, size, key) .Call(wrap__machine_keep_media, handle, room_id, event_id, name, size, key)

# `larger_than` in bytes; `NULL` if the server does not give the file.
machine_refuse_media <- function(handle, room_id, event_id, larger_than) .Call(wrap__machine_refuse_media, handle, room_id, event_id, larger_than)

# The file that is kept of what an event has at `url`, or `NULL`.
machine_kept_media <- function(handle, room_id, event_id, url) .Call(wrap__machine_kept_media, handle, room_id, event_id, url)

# The names of all files that are kept.
machine_archived_files <- function(handle) .Call(wrap__machine_archived_files, handle)

decryption_new <- function(keys) .Call(wrap__decryption_new, keys)

# Decrypts some more events, with at most `threads` threads; `NULL` for all that there may be.
decryption_read <- function(decryption, events, flat, threads) .Call(wrap__decryption_read, decryption, events, flat, threads)

# The rows that are edits, counted from one: what they replace, or why they do not.
decryption_edits <- function(decryption) .Call(wrap__decryption_edits, decryption)

# The sessions that events are encrypted with, each once.
events_sessions <- function(events) .Call(wrap__events_sessions, events)

# Events as JSON texts, as the columns that they are decrypted from.
events_of_json <- function(texts) .Call(wrap__events_of_json, texts)

# The keys that the store has of these sessions, or of all.
machine_session_keys <- function(handle, sessions) .Call(wrap__machine_session_keys, handle, sessions)

# Those of the next part of a key export, how many of them are refused, and how much of the file is read; `NULL` at
# the end.
key_import_sessions <- function(import, sessions) .Call(wrap__key_import_sessions, import, sessions)

# How many bytes a file has, if it is one that can be sent.
attachment_size <- function(path) .Call(wrap__attachment_size, path)

# Encrypts `from`, a path or a raw vector, into a new file: its size, and what opens it.
attachment_encrypt_file <- function(from, to) .Call(wrap__attachment_encrypt_file, from, to)

# Copies `from`, a path or a raw vector, into a new file, and returns its size.
attachment_copy_file <- function(from, to) .Call(wrap__attachment_copy_file, from, to)

# Decrypts the file at `from` into a new one. `file` is an `EncryptedFile` as JSON text.
attachment_decrypt_file <- function(file, from, to) .Call(wrap__attachment_decrypt_file, file, from, to)

# Fails unless the file at `path` is the one that its sender encrypted. `file` is an `EncryptedFile` as JSON text.
attachment_check_file <- function(file, path) .Call(wrap__attachment_check_file, file, path)

# A ciphertext, and what opens it, a plaintext.
attachment_encrypt <- function(plaintexts) .Call(wrap__attachment_encrypt, plaintexts)

# A plaintext and a reason a ciphertext; where one is there, the other is missing.
attachment_decrypt <- function(ciphertexts, files) .Call(wrap__attachment_decrypt, ciphertexts, files)

# The server and the id of an address in a content repository.
media_address <- function(url) .Call(wrap__media_address, url)

# The picture in `from`, a path or a raw vector, or `NULL`.
picture_of <- function(from) .Call(wrap__picture_of, from)

# Judges the body of a response with status 401: what it demands, or `NULL`.
judge_challenge <- function(body, able) .Call(wrap__judge_challenge, body, able)

machine_pending_approval <- function(handle, path, body) .Call(wrap__machine_pending_approval, handle, path, body)

machine_note_approval <- function(handle, path, body, session) .Call(wrap__machine_note_approval, handle, path, body, session)

canonical_json <- function(text) .Call(wrap__canonical_json, text)

machine_seal_dehydration_key <- function(handle, storage) .Call(wrap__machine_seal_dehydration_key, handle, storage)

# The id of a new one, and what puts it on the server.
machine_make_dehydrated_device <- function(handle, storage) .Call(wrap__machine_make_dehydrated_device, handle, storage)

# Its id, and a handle that reads what it was sent.
dehydrated_device_open <- function(stored, storage) .Call(wrap__dehydrated_device_open, stored, storage)

machine_receive_dehydrated_events <- function(handle, device, body) .Call(wrap__machine_receive_dehydrated_events, handle, device, body)

demo_new <- function(server_name) .Call(wrap__demo_new, server_name)

demo_handle <- function(demo, method, path, token, body) .Call(wrap__demo_handle, demo, method, path, token, body)

# Makes the server act as another kind of homeserver.
demo_behave <- function(demo, kind) .Call(wrap__demo_behave, demo, kind)

# Every request body the server has seen, as raw vectors.
demo_requests <- function(demo) .Call(wrap__demo_requests, demo)

# Begins to track the devices of users, or marks them as outdated.
machine_refresh_devices <- function(handle, user_ids) .Call(wrap__machine_refresh_devices, handle, user_ids)

# Those of some users whose devices are not up to date.
machine_outdated_users <- function(handle, user_ids) .Call(wrap__machine_outdated_users, handle, user_ids)

machine_devices <- function(handle, user_ids) .Call(wrap__machine_devices, handle, user_ids)

# Devices of users whose keys are refused, and why.
machine_refused_devices <- function(handle, user_ids) .Call(wrap__machine_refused_devices, handle, user_ids)

# Applies what the user decided about a device: "verified", "blocked" or "unset".
machine_set_local_trust <- function(handle, user_id, device_id, fingerprint, local) .Call(wrap__machine_set_local_trust, handle, user_id, device_id, fingerprint, local)

# SHA-256 of text, in base64 with padding.
sha256_base64 <- function(text) .Call(wrap__sha256_base64, text)

# The data frame of no events.
events_none <- function() .Call(wrap__events_none)

# What a handle holds, for printing. Says why if it cannot be used.
handle_describe <- function(handle) .Call(wrap__handle_describe, handle)

# `delay` and `wait` are milliseconds.
machine_heartbeat_start <- function(handle, id, name, room_id, content, delay, stable, wait) .Call(wrap__machine_heartbeat_start, handle, id, name, room_id, content, delay, stable, wait)

# The messages of all heartbeats, as columns.
machine_heartbeats <- function(handle) .Call(wrap__machine_heartbeats, handle)

machine_heartbeat_abandon <- function(handle, heartbeat) .Call(wrap__machine_heartbeat_abandon, handle, heartbeat)

machine_heartbeat_stop <- function(handle, id) .Call(wrap__machine_heartbeat_stop, handle, id)

machine_heartbeat_restart_path <- function(handle, heartbeat) .Call(wrap__machine_heartbeat_restart_path, handle, heartbeat)

machine_heartbeat_restarted <- function(handle, heartbeat, there) .Call(wrap__machine_heartbeat_restarted, handle, heartbeat, there)

# The devices that cannot read what is encrypted for a room now.
machine_left_out <- function(handle, room_id) .Call(wrap__machine_left_out, handle, room_id)

machine_identity_status <- function(handle) .Call(wrap__machine_identity_status, handle)

# Makes an identity, with a new key of secret storage, from the passphrase that was given if there
# is one, or with the key there is.
machine_make_identity <- function(handle, storage, new_key, reset, back_up) .Call(wrap__machine_make_identity, handle, storage, new_key, reset, back_up)

# Makes secret storage for the identity there is.
machine_make_secret_storage <- function(handle, new_passphrase) .Call(wrap__machine_make_secret_storage, handle, new_passphrase)

machine_abandon_identity <- function(handle) .Call(wrap__machine_abandon_identity, handle)

machine_identity_account_data <- function(handle, storage) .Call(wrap__machine_identity_account_data, handle, storage)

machine_signing_keys_upload <- function(handle, auth) .Call(wrap__machine_signing_keys_upload, handle, auth)

machine_identity_published <- function(handle) .Call(wrap__machine_identity_published, handle)

machine_import_identity <- function(handle, storage) .Call(wrap__machine_import_identity, handle, storage)

machine_signatures_upload <- function(handle) .Call(wrap__machine_signatures_upload, handle)

machine_user_trust <- function(handle, user_ids) .Call(wrap__machine_user_trust, handle, user_ids)

machine_pin_identity <- function(handle, user_id) .Call(wrap__machine_pin_identity, handle, user_id)

machine_user_signature_upload <- function(handle, user_id, master_key) .Call(wrap__machine_user_signature_upload, handle, user_id, master_key)

machine_device_signature_upload <- function(handle, device_id, fingerprint) .Call(wrap__machine_device_signature_upload, handle, device_id, fingerprint)

machine_recovery_key <- function(handle) .Call(wrap__machine_recovery_key, handle)

machine_forget_recovery_key <- function(handle) .Call(wrap__machine_forget_recovery_key, handle)

# What a consumer is to be given: the numbers of the events, and the events; `NULL` where there are none.
machine_take <- function(handle, consumer, limit, unsigned) .Call(wrap__machine_take, handle, consumer, limit, unsigned)

machine_handed <- function(handle, consumer, number) .Call(wrap__machine_handed, handle, consumer, number)

machine_acknowledge <- function(handle, consumer, number) .Call(wrap__machine_acknowledge, handle, consumer, number)

# When a consumer first began, which is now if it never did, in milliseconds.
machine_consumer_began <- function(handle, consumer) .Call(wrap__machine_consumer_began, handle, consumer)

# How often a handler was given an event, this time included.
machine_begin_attempt <- function(handle, consumer, number) .Call(wrap__machine_begin_attempt, handle, consumer, number)

machine_withdraw_attempt <- function(handle, consumer, number) .Call(wrap__machine_withdraw_attempt, handle, consumer, number)

machine_set_aside <- function(handle, consumer, number, error) .Call(wrap__machine_set_aside, handle, consumer, number, error)

machine_peek <- function(handle, first, last) .Call(wrap__machine_peek, handle, first, last)

# The events that wait for a key.
machine_undecrypted <- function(handle) .Call(wrap__machine_undecrypted, handle)

machine_last_event <- function(handle) .Call(wrap__machine_last_event, handle)

# Of a page of history: where older events begin, how many it has, and the times of the oldest and the
# newest, `NA` where none has one.
history_peek <- function(body) .Call(wrap__history_peek, body)

machine_track_senders <- function(handle, body) .Call(wrap__machine_track_senders, handle, body)

machine_read_history <- function(handle, room_id, body, unsigned, edits) .Call(wrap__machine_read_history, handle, room_id, body, unsigned, edits)

# Why edits of ours would not count.
machine_edit_refusals <- function(handle, room_id, event_ids) .Call(wrap__machine_edit_refusals, handle, room_id, event_ids)

# The JSON text of an R value.
json_encode <- function(value) .Call(wrap__json_encode, value)

# The R value of JSON text.
json_decode <- function(text) .Call(wrap__json_decode, text)

# The number of a `GET /room_keys/version` that R is about to make.
machine_number_request <- function(handle) .Call(wrap__machine_number_request, handle)

# The response to `GET /room_keys/version`, the request of this number; without one the status is zero.
machine_backup_version_received <- function(handle, number, status, body) .Call(wrap__machine_backup_version_received, handle, number, status, body)

machine_backup_status <- function(handle) .Call(wrap__machine_backup_status, handle)

machine_enable_backup <- function(handle, enabled) .Call(wrap__machine_enable_backup, handle, enabled)

machine_hurry_backup <- function(handle) .Call(wrap__machine_hurry_backup, handle)

machine_make_backup <- function(handle, replaces, storage) .Call(wrap__machine_make_backup, handle, replaces, storage)

machine_seal_backup_key <- function(handle, storage) .Call(wrap__machine_seal_backup_key, handle, storage)

machine_backup_key_stored <- function(handle) .Call(wrap__machine_backup_key_stored, handle)

machine_backup_upload <- function(handle) .Call(wrap__machine_backup_upload, handle)

machine_open_backup <- function(handle, storage) .Call(wrap__machine_open_backup, handle, storage)

# Finds out whether secret storage holds the key of the backup.
machine_judge_backup_key <- function(handle, storage) .Call(wrap__machine_judge_backup_key, handle, storage)

# The versions before the current one that may be requested.
machine_older_backups <- function(handle) .Call(wrap__machine_older_backups, handle)

# Whether a key of this version is here.
machine_opens_backup <- function(handle, version) .Call(wrap__machine_opens_backup, handle, version)

machine_older_backup_restored <- function(handle, version) .Call(wrap__machine_older_backup_restored, handle, version)

# Writes the keys of a response in a file to another file, in parts that are restored one by one,
# a line each. Returns how many keys there are.
key_backup_parts <- function(from, room_id, session_id, to) .Call(wrap__key_backup_parts, from, room_id, session_id, to)

# Restores keys of the current version, or of an older one: `older` is the response that describes
# it.
machine_restore_keys <- function(handle, part, older) .Call(wrap__machine_restore_keys, handle, part, older)

# A bundle to be uploaded: its number and bytes. NULL where there is nothing to share.
machine_make_key_bundle <- function(handle, room_id) .Call(wrap__machine_make_key_bundle, handle, room_id)

machine_share_key_bundle <- function(handle, number, url, user_ids) .Call(wrap__machine_share_key_bundle, handle, number, url, user_ids)

machine_key_bundle_waits <- function(handle, number) .Call(wrap__machine_key_bundle_waits, handle, number)

# Judges device keys: identity and signing keys, or the reason, a row each.
judge_device_keys <- function(texts, user_ids, device_ids, required) .Call(wrap__judge_device_keys, texts, user_ids, device_ids, required)

# Judges a one-time key: the key, or the reason, a row each.
judge_one_time_keys <- function(key_ids, texts, signing_keys, user_ids, device_ids) .Call(wrap__judge_one_time_keys, key_ids, texts, signing_keys, user_ids, device_ids)

# Judges the response to `/keys/claim` about some devices: a key, or the reason, a row each.
judge_keys_claim <- function(body, user_ids, device_ids, signing_keys) .Call(wrap__judge_keys_claim, body, user_ids, device_ids, signing_keys)

# Whether the response to `/keys/query` names a device, good or not.
judge_known_device <- function(body, user_id, device_id) .Call(wrap__judge_known_device, body, user_id, device_id)

machine_begin_export <- function(handle, path, given, rooms) .Call(wrap__machine_begin_export, handle, path, given, rooms)

# Writes some more sessions: how many are written, how many there are, and whether that is all.
machine_export_keys <- function(handle, export) .Call(wrap__machine_export_keys, handle, export)

# Gives the file its name; or gives it up, where `replace` is `NULL`.
key_export_end <- function(export, replace) .Call(wrap__key_export_end, export, replace)

key_import_open <- function(path, given) .Call(wrap__key_import_open, path, given)

# Imports some more sessions. Returns what became of them, and how much of the file is read.
# `NULL` at the end.
machine_import_keys <- function(handle, import) .Call(wrap__machine_import_keys, handle, import)

key_export_encrypt <- function(text, given, rounds) .Call(wrap__key_export_encrypt, text, given, rounds)

key_export_decrypt <- function(text, given) .Call(wrap__key_export_decrypt, text, given)

# Takes the lock `name` of a store for this process: FALSE while another one has it.
listener_begin <- function(place, name) .Call(wrap__listener_begin, place, name)

# Whether a lock that this process has is still its own. One that broke with its connection is taken again: FALSE if
# another process was faster.
listener_holds <- function(place, name) .Call(wrap__listener_holds, place, name)

# Ends what [`listener_begin`] began.
listener_end <- function(place, name) .Call(wrap__listener_end, place, name)

machine_open <- function(place, key) .Call(wrap__machine_open, place, key)

# Whether there is a store in a directory, or at an address.
store_is_there <- function(place) .Call(wrap__store_is_there, place)

# Whether this build keeps stores in PostgreSQL.
store_has_postgres <- function() .Call(wrap__store_has_postgres)

# A new key for a store, in base64.
store_key_generate <- function() .Call(wrap__store_key_generate)

machine_close <- function(handle) .Call(wrap__machine_close, handle)

machine_store_id <- function(handle) .Call(wrap__machine_store_id, handle)

machine_binding <- function(handle) .Call(wrap__machine_binding, handle)

machine_bind <- function(handle, user_id, device_id) .Call(wrap__machine_bind, handle, user_id, device_id)

machine_last_sync <- function(handle) .Call(wrap__machine_last_sync, handle)

# What can be known of the place of a store without its key. A lock is tried with a file of its
# own; why it did not hold is `lock_failure`.
store_inspect <- function(directory) .Call(wrap__store_inspect, directory)

megolm_outbound_new <- function() .Call(wrap__megolm_outbound_new)

megolm_outbound_session_id <- function(session) .Call(wrap__megolm_outbound_session_id, session)

megolm_outbound_message_index <- function(session) .Call(wrap__megolm_outbound_message_index, session)

megolm_outbound_session_key <- function(session) .Call(wrap__megolm_outbound_session_key, session)

megolm_encrypt <- function(session, plaintexts) .Call(wrap__megolm_encrypt, session, plaintexts)

megolm_outbound_pickle <- function(session, key) .Call(wrap__megolm_outbound_pickle, session, key)

megolm_outbound_unpickle <- function(blob, key) .Call(wrap__megolm_outbound_unpickle, blob, key)

megolm_inbound_new <- function(session_key) .Call(wrap__megolm_inbound_new, session_key)

megolm_inbound_info <- function(session) .Call(wrap__megolm_inbound_info, session)

# A plaintext, an index and a reason a ciphertext; where one is there, the other is missing.
megolm_decrypt <- function(session, ciphertexts) .Call(wrap__megolm_decrypt, session, ciphertexts)

megolm_inbound_pickle <- function(session, key) .Call(wrap__megolm_inbound_pickle, session, key)

megolm_inbound_unpickle <- function(blob, key) .Call(wrap__megolm_inbound_unpickle, blob, key)

# Seconds since the first call.
monotonic_seconds <- function() .Call(wrap__monotonic_seconds)

# Waits for at most a second.
monotonic_sleep <- function(milliseconds) .Call(wrap__monotonic_sleep, milliseconds)

olm_outbound <- function(account, identity_key, one_time_key) .Call(wrap__olm_outbound, account, identity_key, one_time_key)

olm_inbound <- function(account, identity_key, body) .Call(wrap__olm_inbound, account, identity_key, body)

olm_encrypt <- function(session, plaintext) .Call(wrap__olm_encrypt, session, plaintext)

olm_decrypt <- function(session, message_type, body) .Call(wrap__olm_decrypt, session, message_type, body)

olm_session_id <- function(session) .Call(wrap__olm_session_id, session)

olm_session_pickle <- function(session, key) .Call(wrap__olm_session_pickle, session, key)

olm_session_unpickle <- function(blob, key) .Call(wrap__olm_session_unpickle, blob, key)

machine_send <- function(handle, room_id, types, contents, transaction_ids, demand_encryption, audience) .Call(wrap__machine_send, handle, room_id, types, contents, transaction_ids, demand_encryption, audience)

# Puts messages in the outbox that need files to be on the server before them. `uploads` are JSON
# arrays of `Upload`, one a content.
machine_send_files <- function(handle, room_id, contents, uploads, transaction_ids) .Call(wrap__machine_send_files, handle, room_id, contents, uploads, transaction_ids)

# The names of the files that messages of the outbox need.
machine_waiting_files <- function(handle) .Call(wrap__machine_waiting_files, handle)

# Keeps the file at `path` in the store, for other machines.
machine_keep_file <- function(handle, name, path) .Call(wrap__machine_keep_file, handle, name, path)

# Writes a file that the store keeps to `path`. Returns whether there is one.
machine_fetch_file <- function(handle, name, path) .Call(wrap__machine_fetch_file, handle, name, path)

# Deletes those of the files `names` that the store keeps, and that no message needs.
machine_forget_files <- function(handle, names) .Call(wrap__machine_forget_files, handle, names)

# How large contents are, and may be. `room` is an id, or `NULL` where it is not known yet.
machine_content_sizes <- function(handle, room, event_type, contents) .Call(wrap__machine_content_sizes, handle, room, event_type, contents)

machine_redact <- function(handle, room_id, event_id, content) .Call(wrap__machine_redact, handle, room_id, event_id, content)

machine_react <- function(handle, room_id, event_id, key) .Call(wrap__machine_react, handle, room_id, event_id, key)

machine_outcomes <- function(handle, numbers) .Call(wrap__machine_outcomes, handle, numbers)

# What the caller of messages is told at their end. Those that the server has are forgotten.
machine_settle <- function(handle, room_id, numbers) .Call(wrap__machine_settle, handle, room_id, numbers)

# The isolation mode; set to `mode` if that is not `NULL`.
machine_isolation <- function(handle, mode) .Call(wrap__machine_isolation, handle, mode)

# The devices that were refused the key of a room's current session.
machine_withheld <- function(handle, room_id) .Call(wrap__machine_withheld, handle, room_id)

machine_forget <- function(handle, numbers) .Call(wrap__machine_forget, handle, numbers)

# The messages that were not sent, as columns.
machine_unsent <- function(handle) .Call(wrap__machine_unsent, handle)

# Nobody waits any more for what becomes of these.
machine_leave <- function(handle, numbers) .Call(wrap__machine_leave, handle, numbers)

machine_retry <- function(handle, numbers) .Call(wrap__machine_retry, handle, numbers)

# Keeps what was refused, and whose caller was told.
machine_keep_refused <- function(handle, numbers) .Call(wrap__machine_keep_refused, handle, numbers)

machine_discard <- function(handle, numbers) .Call(wrap__machine_discard, handle, numbers)

machine_last_queued <- function(handle) .Call(wrap__machine_last_queued, handle)

machine_waiting_to_send <- function(handle) .Call(wrap__machine_waiting_to_send, handle)

machine_identity_keys <- function(handle) .Call(wrap__machine_identity_keys, handle)

machine_sign <- function(handle, message) .Call(wrap__machine_sign, handle, message)

machine_unpublished_one_time_keys <- function(handle) .Call(wrap__machine_unpublished_one_time_keys, handle)

machine_set_one_time_key_target <- function(handle, n) .Call(wrap__machine_set_one_time_key_target, handle, n)

machine_key_upload <- function(handle) .Call(wrap__machine_key_upload, handle)

# Publishes the device keys again, after a new login.
machine_publish_anew <- function(handle) .Call(wrap__machine_publish_anew, handle)

# Leases the right to renew the login: a number, or NULL while another process has it.
machine_lease_login <- function(handle) .Call(wrap__machine_lease_login, handle)

machine_release_login <- function(handle, number) .Call(wrap__machine_release_login, handle, number)

random_device_id <- function() .Call(wrap__random_device_id)

# Writes a file that only its owner may read, whole or not at all.
private_file_write <- function(path, text) .Call(wrap__private_file_write, path, text)

# Makes a directory that only its owner may enter, unless it is there.
private_directory_create <- function(path) .Call(wrap__private_directory_create, path)

machine_sync_token <- function(handle) .Call(wrap__machine_sync_token, handle)

machine_receive_sync <- function(handle, since, body) .Call(wrap__machine_receive_sync, handle, since, body)

# Whose turn it is to ask the server for news: `came`, `theirs` or `ours`. `seen` is when the last sync was applied.
machine_lease_sync <- function(handle, seen, timeout, beside) .Call(wrap__machine_lease_sync, handle, seen, timeout, beside)

machine_release_sync <- function(handle, number) .Call(wrap__machine_release_sync, handle, number)

# Waits, for some milliseconds at most, until another process may have committed something.
machine_wait_for_commit <- function(handle, limit) .Call(wrap__machine_wait_for_commit, handle, limit)

# What to perform now, for a caller who waits for the messages of `room_id`, the devices of
# `user_ids`, and requests of `kinds`. `since` is what the first of these calls returned, which is given `NULL`.
machine_requests <- function(handle, room_id, user_ids, kinds, since) .Call(wrap__machine_requests, handle, room_id, user_ids, kinds, since)

# Says that a request is still being performed.
machine_renew <- function(handle, request) .Call(wrap__machine_renew, handle, request)

# `statuses` are those of HTTP; 0 stands for no response, -1 for not tried.
machine_replies <- function(handle, numbers, statuses, bodies) .Call(wrap__machine_replies, handle, numbers, statuses, bodies)

qr_encode <- function(mode_name, flow_id, first, second, secret) .Call(wrap__qr_encode, mode_name, flow_id, first, second, secret)

qr_decode <- function(bytes) .Call(wrap__qr_decode, bytes)

# Whether each module is dark, row by row.
qr_modules <- function(bytes) .Call(wrap__qr_modules, bytes)

# What the symbols in an image hold; `grey` has a byte a pixel, row by row.
qr_scan <- function(grey, width) .Call(wrap__qr_scan, grey, width)

# The direct rooms in the account data `m.direct`.
direct_rooms_read <- function(body) .Call(wrap__direct_rooms_read, body)

# The same with a room added, or `NULL` where it is there already.
direct_rooms_add <- function(body, user_ids, room_id) .Call(wrap__direct_rooms_add, body, user_ids, room_id)

# What is known of one room, or `NULL`.
machine_known_room <- function(handle, room_id) .Call(wrap__machine_known_room, handle, room_id)

# The room that a room says it replaces, or `NULL`.
room_predecessor_read <- function(body) .Call(wrap__room_predecessor_read, body)

# The tombstone in the state of a room, and whether it counts; `NULL` where there is none.
room_upgrade_read <- function(body) .Call(wrap__room_upgrade_read, body)

# Lets the next message of a room begin a new session.
machine_rotate_room_key <- function(handle, room_id) .Call(wrap__machine_rotate_room_key, handle, room_id)

machine_rooms <- function(handle) .Call(wrap__machine_rooms, handle)

machine_note_encryption <- function(handle, room_id, content) .Call(wrap__machine_note_encryption, handle, room_id, content)

machine_note_members_changed <- function(handle, room_id) .Call(wrap__machine_note_members_changed, handle, room_id)

machine_note_own_membership <- function(handle, room_id, membership) .Call(wrap__machine_note_own_membership, handle, room_id, membership)

# What opens secret storage, for as long as one call lasts.
storage_secret_new <- function(recovery_key, passphrase) .Call(wrap__storage_secret_new, recovery_key, passphrase)

# Secret storage in the response to an initial sync.
secret_storage_read <- function(account_data) .Call(wrap__secret_storage_read, account_data)

# The same secret storage, with what opens it.
secret_storage_with <- function(storage, given) .Call(wrap__secret_storage_with, storage, given)

# Its default key, the secrets under that, and its keys, as columns.
secret_storage_describe <- function(storage) .Call(wrap__secret_storage_describe, storage)

# The id of the key that what was given opens.
secret_storage_key <- function(storage) .Call(wrap__secret_storage_key, storage)

# A handle of a secret, or `NULL` where there is none of this name.
secret_storage_fetch <- function(storage, name) .Call(wrap__secret_storage_fetch, storage, name)

secret_text <- function(handle) .Call(wrap__secret_text, handle)

machine_seal_secret <- function(handle, storage, name, value) .Call(wrap__machine_seal_secret, handle, storage, name, value)

# What secret storage lacks of the private keys that are here.
machine_seal_held_secrets <- function(handle, storage) .Call(wrap__machine_seal_held_secrets, handle, storage)

machine_key_change_under_way <- function(handle, storage) .Call(wrap__machine_key_change_under_way, handle, storage)

machine_begin_key_change <- function(handle, storage, new_passphrase) .Call(wrap__machine_begin_key_change, handle, storage, new_passphrase)

machine_key_change_writes <- function(handle, storage) .Call(wrap__machine_key_change_writes, handle, storage)

# HMAC-SHA-256 of raw bytes, in hexadecimal digits.
hmac_sha256 <- function(key, message) .Call(wrap__hmac_sha256, key, message)

equal_in_constant_time <- function(one, other) .Call(wrap__equal_in_constant_time, one, other)

ed25519_verify <- function(public_keys, messages, signatures) .Call(wrap__ed25519_verify, public_keys, messages, signatures)

# Signs JSON text with the key of an account.
json_sign <- function(text, account, entity, key_id) .Call(wrap__json_sign, text, account, entity, key_id)

# Adds a signature that was made elsewhere over `json_signed_bytes`.
json_add_signature <- function(text, entity, key_id, signature) .Call(wrap__json_add_signature, text, entity, key_id, signature)

# The bytes a signature of JSON text covers.
json_signed_bytes <- function(text) .Call(wrap__json_signed_bytes, text)

json_verify <- function(text, entity, key_id, public_key) .Call(wrap__json_verify, text, entity, key_id, public_key)

mx_client_store_read <- function(directory) .Call(wrap__mx_client_store_read, directory)

# How many sessions there are, and which cannot be used.
mx_client_store_describe <- function(store) .Call(wrap__mx_client_store_describe, store)

mx_client_store_check <- function(store, body, user_id, device_id) .Call(wrap__mx_client_store_check, store, body, user_id, device_id)

machine_import_store <- function(handle, store, user_id, device_id) .Call(wrap__machine_import_store, handle, store, user_id, device_id)

# The tables with their numbers, and beside them the damaged rows.
store_check <- function(place, key, beside) .Call(wrap__store_check, place, key, beside)

store_vacuum <- function(place, key, beside) .Call(wrap__store_vacuum, place, key, beside)

store_back_up <- function(place, key, beside, to, made_at, with_key) .Call(wrap__store_back_up, place, key, beside, to, made_at, with_key)

store_restore <- function(place, key, beside, to, with_key) .Call(wrap__store_restore, place, key, beside, to, with_key)

store_move <- function(place, key, beside, to, to_key, to_beside) .Call(wrap__store_move, place, key, beside, to, to_key, to_beside)

# The key of a store, in base64.
store_key_of_place <- function(place, key, beside) .Call(wrap__store_key_of_place, place, key, beside)

# Begins to watch for SIGTERM, or ends it. On Windows no process sends it.
termination_watch <- function(watch) .Call(wrap__termination_watch, watch)

# Whether SIGTERM came since the watch began.
termination_came <- function() .Call(wrap__termination_came)

machine_verifications <- function(handle) .Call(wrap__machine_verifications, handle)

machine_request_verification <- function(handle, user_id, device_id, room_id) .Call(wrap__machine_request_verification, handle, user_id, device_id, room_id)

machine_accept_verification <- function(handle, verification) .Call(wrap__machine_accept_verification, handle, verification)

machine_start_sas <- function(handle, verification) .Call(wrap__machine_start_sas, handle, verification)

# The bytes of the code.
machine_show_code <- function(handle, verification) .Call(wrap__machine_show_code, handle, verification)

machine_scan_code <- function(handle, verification, bytes) .Call(wrap__machine_scan_code, handle, verification, bytes)

machine_confirm_verification <- function(handle, verification, same) .Call(wrap__machine_confirm_verification, handle, verification, same)

machine_cancel_verification <- function(handle, verification) .Call(wrap__machine_cancel_verification, handle, verification)

machine_time_out_verification <- function(handle, verification) .Call(wrap__machine_time_out_verification, handle, verification)

# nolint end
