# Requests of promises: curl's multi interface, driven by jobs of `later`.
#
# All steps of such a call are jobs of an event loop of this package, a child of the
# loop that it was made in. Whoever runs that one (the console, Shiny, httpuv,
# later::run_now()) runs them too. And a call that waits for something which such a call
# holds, such as the lease on a renewal, can run them without any job of the user.

# What performs the requests of one call, or of a listener with many. The `driver` of a
# client makes http_perform() return promises. `cancel()` ends what is under way, and
# makes every request from then on fail: `mx_error_cancelled`.
async_driver <- function() {
  state <- new.env(parent = emptyenv())
  state[["pid"]] <- Sys.getpid()
  state[["cancelled"]] <- FALSE
  state[["open"]] <- list()
  state[["opened"]] <- 0
  list(
    perform = function(session, ...) {
      started(state, function(resolve, reject) {
        http_start(session, ..., resolve = resolve, reject = reject)
      })
    },
    pause = function(seconds) {
      started(state, function(resolve, reject) {
        later::later(function() resolve(NULL), seconds)
      })
    },
    cancel = function() {
      state[["cancelled"]] <- TRUE
      open <- state[["open"]]
      state[["open"]] <- list()
      for (end in open) {
        end()
      }
    },
    is_cancelled = function() state[["cancelled"]],
    is_idle = function() length(state[["open"]]) == 0L
  )
}

# A promise of what `start` begins, which returns a function that ends it. In a forked
# process nothing goes on: the parent does it.
started <- function(state, start) {
  promises::promise(function(resolve, reject) {
    if (state[["pid"]] != Sys.getpid()) {
      return()
    }
    if (state[["cancelled"]]) {
      raise(cancelled_condition())
    }
    state[["opened"]] <- state[["opened"]] + 1
    key <- as.character(state[["opened"]])
    settling <- function(settle) {
      function(value) {
        if (state[["pid"]] != Sys.getpid()) {
          return()
        }
        open <- state[["open"]]
        open[[key]] <- NULL
        state[["open"]] <- open
        settle(value)
      }
    }
    loop <- later::current_loop()
    # Known before it starts: the demo homeserver answers at once.
    state[["open"]][[key]] <- function() NULL
    end <- tryCatch(
      start(settling(resolve), settling(reject)),
      error = settling(reject)
    )
    if (!is.null(state[["open"]][[key]])) {
      state[["open"]][[key]] <- function() {
        end()
        later::with_loop(loop, reject(cancelled_condition()))
      }
    }
  })
}

cancelled_condition <- function() {
  errorCondition(
    "The call was cancelled.",
    class = c("mx_error_cancelled", "mx_error"),
    call = NULL
  )
}

is_cancelled <- function(condition) inherits(condition, "mx_error_cancelled")

# Engines ----------------------------------------------------------------------

# The event loop and the pool of connections for calls that are made in the current
# loop. A forked process has none of its parent's: their sockets are shared.
async_engine <- function() {
  current <- later::current_loop()
  engines <- the[["engines"]]
  for (engine in engines) {
    if (engine[["pid"]] == Sys.getpid() && engine_has(engine, current)) {
      return(engine)
    }
  }
  engine <- new.env(parent = emptyenv())
  engine[["pid"]] <- Sys.getpid()
  engine[["parent"]] <- current
  engine[["loop"]] <- later::create_loop(parent = current)
  # More than any session needs: a long poll that holds the last connection would keep
  # a message waiting.
  engine[["pool"]] <- curl::new_pool(total_con = 10000, host_con = 10000)
  engine[["open"]] <- list()
  engine[["opened"]] <- 0
  engine[["calls"]] <- list()
  engine[["jobs"]] <- list()
  # Those of loops that are gone are of no use; those of a parent process must stay,
  # because a garbage collector that closed them would do so on shared sockets.
  is_used <- function(engine) {
    engine[["pid"]] != Sys.getpid() || later::exists_loop(engine[["parent"]])
  }
  the[["engines"]] <- c(Filter(is_used, engines), list(engine))
  engine
}

# Whether this is a job of such a loop: nobody called what runs now.
is_in_background <- function() {
  engines <- the[["engines"]]
  if (length(engines) == 0L) {
    return(FALSE)
  }
  current <- later::current_loop()[["id"]]
  any(vapply(engines, function(engine) engine[["loop"]][["id"]] == current, NA))
}

engine_has <- function(engine, loop) {
  identical(loop[["id"]], engine[["parent"]][["id"]]) ||
    identical(loop[["id"]], engine[["loop"]][["id"]])
}

# Adds a request to the pool. `done` is called with the response of curl, or `fail` with
# the reason why there is none; neither may raise an error. Returns a function that cancels it.
engine_add <- function(handle, done, fail) {
  engine <- async_engine()
  engine[["opened"]] <- engine[["opened"]] + 1
  key <- as.character(engine[["opened"]])
  # An error in here would leave the responses behind this one unread.
  settling <- function(settle) {
    function(value) {
      close_request(engine, key)
      settle(value)
      NULL
    }
  }
  failing <- settling(function(reason) {
    # curl looks for Ctrl-C itself, and clears it.
    if (is_interruption(simpleError(reason))) {
      engine[["interrupted"]] <- TRUE
    }
    fail(reason)
  })
  curl::multi_add(
    handle,
    done = settling(done),
    fail = failing,
    pool = engine[["pool"]]
  )
  engine[["open"]][[key]] <- failing
  engine[["since"]] <- monotonic_time()
  start_ticking(engine)
  function() {
    if (!is.null(engine[["open"]][[key]])) {
      close_request(engine, key)
      if (engine[["pid"]] == Sys.getpid()) {
        curl::multi_cancel(handle)
      }
    }
  }
}

close_request <- function(engine, key) {
  open <- engine[["open"]]
  open[[key]] <- NULL
  engine[["open"]] <- open
  engine[["since"]] <- monotonic_time()
}

# One job runs for all requests of an engine, and none if there are no requests.
start_ticking <- function(engine, pause = 0) {
  start_job(engine, "tick", pause, function() tick(engine))
}

# Has `job` run after a pause, unless it is due already. An interrupt that comes when a
# job is about to run takes it out of the queue of later: then it is late, and replaced.
start_job <- function(engine, name, pause, job) {
  known <- engine[["jobs"]][[name]]
  now <- monotonic_time()
  if (is.null(known) || now > known[["at"]] + 1) {
    stop_job(engine, name)
    cancel <- later::later(job, pause, loop = engine[["loop"]])
    engine[["jobs"]][[name]] <- list(at = now + pause, cancel = cancel)
  }
}

stop_job <- function(engine, name) {
  known <- engine[["jobs"]][[name]]
  if (!is.null(known)) {
    # It may be late and there, such as after a call for which R waited.
    known[["cancel"]]()
    engine[["jobs"]][[name]] <- NULL
  }
}

tick <- function(engine) {
  if (engine[["pid"]] != Sys.getpid()) {
    return(invisible())
  }
  stop_job(engine, "tick")
  # Also after an interrupt.
  on.exit(
    if (length(engine[["open"]]) > 0L) {
      start_ticking(engine, tick_pause(engine))
    }
  )
  start_watching(engine)
  tryCatch(
    curl::multi_run(timeout = 0, poll = TRUE, pool = engine[["pool"]]),
    error = function(condition) {
      for (fail in engine[["open"]]) {
        fail(conditionMessage(condition))
      }
    }
  )
  if (isTRUE(engine[["interrupted"]])) {
    engine[["interrupted"]] <- FALSE
    rlang::interrupt()
  }
  invisible()
}

# Seconds until the next look. Most responses come soon; a long poll may take minutes.
tick_pause <- function(engine) {
  waited <- monotonic_time() - engine[["since"]]
  min(max(waited / 50, 0.003), 0.1)
}

# Notes a call. `deliver` is called again and again when no job is left that could do
# it. Returns a function that ends this.
note_call <- function(engine, deliver) {
  engine[["opened"]] <- engine[["opened"]] + 1
  key <- as.character(engine[["opened"]])
  engine[["calls"]][[key]] <- deliver
  start_watching(engine)
  function() {
    calls <- engine[["calls"]]
    calls[[key]] <- NULL
    engine[["calls"]] <- calls
    if (length(calls) == 0L) {
      stop_job(engine, "watch")
    }
  }
}

start_watching <- function(engine) {
  if (length(engine[["calls"]]) > 0L) {
    start_job(engine, "watch", 1, function() watch(engine))
  }
}

# Once a second: a call must have an end, also when an interrupt has taken its job.
watch <- function(engine) {
  if (engine[["pid"]] != Sys.getpid()) {
    return(invisible())
  }
  stop_job(engine, "watch")
  on.exit(start_watching(engine))
  has_requests <- length(engine[["open"]]) > 0L
  if (has_requests) {
    start_ticking(engine)
  }
  is_stuck <- !has_requests && later::loop_empty(engine[["loop"]])
  if (is_stuck && isTRUE(engine[["was_stuck"]])) {
    for (deliver in engine[["calls"]]) {
      deliver()
    }
  }
  engine[["was_stuck"]] <- is_stuck
  invisible()
}

# Waits while R does nothing else. What promises of this package wait for goes on: it
# may be the very thing that the caller waits for.
wait <- function(seconds) {
  engines <- Filter(is_at_work, the[["engines"]])
  if (length(engines) == 0L) {
    return(Sys.sleep(seconds))
  }
  end <- monotonic_time() + seconds
  while ((left <- end - monotonic_time()) > 0) {
    for (engine in engines) {
      later::run_now(min(left, 0.02), all = FALSE, loop = engine[["loop"]])
    }
  }
  invisible()
}

is_at_work <- function(engine) {
  engine[["pid"]] == Sys.getpid() && !later::loop_empty(engine[["loop"]])
}

# Requests ---------------------------------------------------------------------

# Starts one request, as http_once() performs one. `resolve` is called with what that
# returns, or `reject` with a condition. Returns a function that cancels it.
http_start <- function(
  session,
  method,
  path,
  body,
  timeout,
  content,
  call,
  resolve,
  reject
) {
  settle <- function(code) {
    tryCatch(resolve(force(code)), error = reject)
  }
  if (!is.null(the[["homeservers"]][[session[["server"]]]])) {
    answer <- function() {
      settle(
        http_once(session, method, path, body, timeout, content, NULL, call)
      )
    }
    # It responds at once, where another server waits for news.
    return(later::later(answer, min(timeout / 1000, 0.2)))
  }
  source <- upload_source(content, call, quiet = TRUE)
  close_source <- function() {
    if (!is.null(source)) {
      source[["close"]]()
      source <<- NULL
    }
  }
  done <- function(response) {
    close_source()
    settle(answer_of(response))
  }
  fail <- function(reason) {
    was_cut <- !is.null(source) && source[["was_cut"]]()
    close_source()
    settle(
      if (was_cut) {
        file_abort("read", content[["path"]], call)
      } else {
        raise(no_answer(session[["server"]], reason, session))
      }
    )
  }
  cancel <- tryCatch(
    engine_add(
      http_handle(session, method, path, body, timeout, content, source),
      done,
      fail
    ),
    error = function(condition) {
      close_source()
      raise(condition)
    }
  )
  function() {
    cancel()
    close_source()
  }
}

# A response of curl, as http_once() returns one.
answer_of <- function(response) {
  headers <- headers_of(response[["headers"]])
  list(
    status = response[["status_code"]],
    body = response[["content"]],
    retry_after = headers[["retry-after"]],
    location = headers[["location"]],
    date = headers[["date"]]
  )
}
