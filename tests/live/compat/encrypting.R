s <- mx_client_session(client)
mxcrypt::mx_set_state(s, room_id, "m.room.encryption",
                      list(algorithm = "m.megolm.v1.aes-sha2"))
