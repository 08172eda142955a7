# What single calls cost, and where: Rscript bench/calls.R [calls] [profile]
#
# The calls are made one at a time, with the demo homeserver in this process. Prints CPU
# milliseconds for each, without the homeserver's share. With a file name as the second
# argument, Rprof() writes where R was: one file for each kind of call.

source("bench/harness.R")

arguments <- commandArgs(TRUE)
calls <- if (length(arguments) > 0L) as.integer(arguments[[1]]) else 300L
profile <- if (length(arguments) > 1L) arguments[[2]]

homeserver <- mx_demo_homeserver()
alice <- mx_demo_client(homeserver, "alice")
bob <- mx_demo_client(homeserver, "bob")
room <- mx_room_create(alice, invite = bob$user_id)
mx_room_join(bob, room)
sync_both <- function() invisible(list(mx_sync(bob), mx_sync(alice)))
for (i in 1:3) {
  mx_send_text(alice, room, "first")
  mx_send_text(bob, room, "first")
  sync_both()
}

# `before` is what is not counted of each call.
cost <- function(name, measured, before = function() NULL) {
  spent <- 0
  served <- 0
  if (!is.null(profile)) {
    Rprof(paste0(profile, "-", name), interval = 0.001)
  }
  for (i in seq_len(calls)) {
    before()
    server$spent <- c(cpu = 0, wall = 0)
    start <- clock()[["cpu"]]
    measured()
    spent <- spent + clock()[["cpu"]] - start
    served <- served + server$spent[["cpu"]]
  }
  Rprof(NULL)
  cat(sprintf("%-8s %.2f ms\n", name, (spent - served) / calls * 1000))
}

cost("send", function() mx_send_text(alice, room, "a text"))
sync_both()
cost("idle", function() mx_sync(alice))
cost(
  "receive",
  function() stopifnot(nrow(mx_sync(alice)) == 1L),
  function() mx_send_text(bob, room, "a text")
)
