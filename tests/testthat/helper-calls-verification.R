calls_verification <- function() {
  pair <- demo_pair()
  alice <- pair$alice
  # A verification needs somebody of its own: who asks twice at a time is refused.
  other <- function() {
    mx_demo_client(pair$homeserver, "alice", verified = FALSE)
  }
  received <- function() request_of(other(), alice)[[2]]
  scans <- agreed(other(), alice)
  list(
    mx_verification_request = list(
      client = alice,
      user_id = "@bob:demo",
      device_id = NULL,
      room = pair$room
    ),
    mx_verifications = list(client = alice),
    mx_verification_accept = list(verification = received()),
    mx_verification_start = list(verification = agreed(other(), alice)[[2]]),
    mx_verification_confirm = list(
      verification = comparing(other(), alice)[[2]],
      same = TRUE
    ),
    mx_verification_cancel = list(verification = received()),
    mx_verification_emojis = list(
      verification = comparing(other(), alice)[[2]],
      language = "de"
    ),
    mx_verification_qr = list(verification = agreed(other(), alice)[[2]]),
    mx_verification_scan = list(
      verification = scans[[2]],
      code = picture(mx_verification_qr(scans[[1]]))
    ),
    mx_verification_wait = list(verification = received(), seconds = 0),
    mx_verify = list(
      client = alice,
      user_id = "@bob:demo",
      device_id = NULL,
      room = pair$room,
      seconds = 0
    )
  )
}
