# The pump: performs what the machine asks for until nothing is left.
#
# The machine decides what is asked, in which order, and what an answer means;
# here it is only carried to the server and back.

# With `until`, goes on until that is true, also while another process is at
# work on the same store; for at most `wait` seconds without progress.
pump <- function(client, until = NULL, wait = 60, call = caller_env()) {
  machine <- machine_of(client, call = call)
  idle_since <- Sys.time()
  repeat {
    due <- core(machine_requests(machine), call = call)
    if (due[["sync_first"]]) {
      sync_once(client, timeout = 0, call = call)
    }
    if (length(due[["requests"]]) > 0L) {
      perform_all(client, machine, due[["requests"]], call)
      idle_since <- Sys.time()
    } else if (is.null(until) || until()) {
      return(invisible())
    } else if (difftime(Sys.time(), idle_since, units = "secs") > wait) {
      mx_abort(
        c(
          "Another process holds what is to be sent, and does not finish.",
          i = "It stays in the outbox and is sent by the next call."
        ),
        "mx_error_store_locked",
        call = call
      )
    } else if (!due[["sync_first"]]) {
      Sys.sleep(0.2)
    }
  }
}

# Performs requests in order. The first that fails ends it, and what was not
# tried is said to be so; also an interrupt by the user leaves nothing unsaid.
perform_all <- function(client, machine, requests, call) {
  n <- length(requests)
  status <- rep(-1L, n)
  body <- rep(list(raw()), n)
  numbers <- vapply(requests, function(request) request[["number"]], 0)
  report <- function() {
    core(machine_replies(machine, numbers, status, body), call = call)
  }
  reported <- FALSE
  on.exit(if (!reported) report())
  for (i in seq_len(n)) {
    status[[i]] <- 0L
    answer <- perform(client, requests[[i]], call)
    status[[i]] <- answer[["status"]]
    body[[i]] <- answer[["body"]]
    if (answer[["status"]] == 401L) {
      break
    }
  }
  reported <- TRUE
  troubles <- report()
  if (length(troubles) > 0L) {
    trouble <- troubles[[1]]
    matrix_abort(
      trouble[["code"]],
      trouble[["message"]],
      trouble[["status"]],
      call = call
    )
  }
}

perform <- function(client, request, call) {
  http_perform(
    client,
    request[["method"]],
    request[["path"]],
    request[["body"]],
    call = call
  )
}
