# Accounts and sessions of the primitives.

pickle_key <- as.raw(0:31)

# Two accounts with a session each: `a` opened it and wrote first.
olm_pair <- function() {
  alice <- mxc_account_new()
  bob <- mxc_account_new()
  mxc_account_generate_one_time_keys(bob, 1)
  a <- mxc_olm_create_outbound(
    alice,
    mxc_account_identity_keys(bob)[["curve25519"]],
    mxc_account_one_time_keys(bob)[[1]]
  )
  mxc_account_mark_published(bob)
  first <- mxc_olm_encrypt(a, "first")
  opened <- mxc_olm_create_inbound(
    bob,
    mxc_account_identity_keys(alice)[["curve25519"]],
    first[["body"]]
  )
  list(
    alice = alice,
    bob = bob,
    a = a,
    b = opened[["session"]],
    first = first,
    plaintext = opened[["plaintext"]]
  )
}

# One of each kind of handle.
handles <- function() {
  pair <- olm_pair()
  outbound <- mxc_megolm_outbound_new()
  list(
    mxc_account = pair[["alice"]],
    mxc_olm_session = pair[["a"]],
    mxc_megolm_outbound = outbound,
    mxc_megolm_inbound = mxc_megolm_inbound_new(mxc_megolm_session_key(
      outbound
    ))
  )
}

# The same with padding.
padded <- function(base64) {
  paste0(base64, strrep("=", (4 - nchar(base64) %% 4) %% 4))
}

read_olm <- function(session, message) {
  rawToChar(mxc_olm_decrypt(session, message[["type"]], message[["body"]]))
}

# `text` with one character of base64 changed.
altered <- function(text, at = nchar(text) %/% 2) {
  old <- substr(text, at, at)
  substr(text, at, at) <- if (old == "A") "Q" else "A"
  text
}
