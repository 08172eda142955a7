# Two sides of a verification, in lists of two verifications: that of who asked, and that
# of who is asked.

# `asks` asks `asked`, in their room or, between devices of one user, directly.
request_of <- function(asks, asked) {
  mine <- mx_verification_request(asks, asked$user_id)
  list(mine, newest(asked))
}

# The newest verification of a client that has synced.
newest <- function(client) {
  mx_sync(client)
  found <- mx_verifications(client)
  found[[length(found)]]
}

agreed <- function(asks, asked) {
  both <- request_of(asks, asked)
  both[[2]] <- mx_verification_accept(both[[2]])
  exchange(both)
}

comparing <- function(asks, asked, starts = 1) {
  both <- agreed(asks, asked)
  both[[starts]] <- mx_verification_start(both[[starts]])
  exchange(both)
}

# Lets both hear of each other until nothing is left to hear.
exchange <- function(both) {
  for (turn in 1:3) {
    both <- lapply(both, mx_verification_wait, seconds = 0)
  }
  both
}

states <- function(both) vapply(both, function(one) one[["state"]], "")

# Two devices of one user, of which the first has an identity.
own_devices <- function() {
  homeserver <- mx_demo_homeserver()
  phone <- mx_demo_client(homeserver, "alice")
  laptop <- mx_demo_client(homeserver, "alice", verified = FALSE)
  list(homeserver = homeserver, phone = phone, laptop = laptop)
}

# What a camera sees of a QR code, as a matrix of greys.
picture <- function(symbol) {
  1 - kronecker(quiet_zone(symbol), matrix(1, 4, 4))
}
