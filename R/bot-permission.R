# Who may give commands, where, and how many.

# Users by id, servers as ":example.org", a function of the event, or NULL for all.
check_allow <- function(
  allow,
  name = rlang::caller_arg(allow),
  call = caller_env()
) {
  if (is.null(allow) || is.function(allow)) {
    return(allow)
  }
  check_people(allow, name, "a function, or NULL", call)
}

check_people <- function(people, name, or, call = caller_env()) {
  wanted <- paste0(
    "user ids like \"@alice:example.org\", servers like \":example.org\", ",
    or
  )
  if (!is.character(people) || anyNA(people)) {
    argument_abort(name, wanted, call)
  }
  people <- checked_text(people, name, call)
  is_user <- grepl("^@[^:]*:.+$", people)
  is_server <- startsWith(people, ":") &
    is_server_name(substr(people, 2L, nchar(people)))
  if (!all(is_user | is_server)) {
    argument_abort(name, wanted, call, people[!(is_user | is_server)][[1]])
  }
  people
}

# Whether a user is listed, or their server.
is_listed <- function(user_id, people) {
  if (!is_string(user_id)) {
    return(FALSE)
  }
  user_id %in% people || paste0(":", server_of(user_id)) %in% people
}

is_allowed <- function(bot, allow, event) {
  if (is.null(allow)) {
    return(TRUE)
  }
  if (!is.function(allow)) {
    return(is_listed(event[["sender"]], allow))
  }
  tryCatch(isTRUE(allow(event)), error = function(condition) {
    log_bot(bot, "ERROR", "`allow` failed: ", error_text(condition))
    FALSE
  })
}

# Why an event gives no command, or NULL.
refusal_of <- function(bot, event, command) {
  rooms <- bot[["state"]][["rooms"]]
  if (!is.null(rooms) && !event[["room_id"]] %in% rooms) {
    return("the room is not one of `rooms`")
  }
  if (event[["trust"]] < bot[["trust"]]) {
    help <- if (!event[["encrypted"]]) " (it is not encrypted)"
    return(paste0(
      "the trust of the message is \"",
      event[["trust"]],
      "\", which is less than \"",
      bot[["trust"]],
      "\"",
      help
    ))
  }
  if (!event[["encrypted"]] && is_encrypted_room(bot, event[["room_id"]])) {
    # Nobody but a server has a reason to leave the encryption out.
    return("the room is encrypted, and the message is not")
  }
  if (
    !is_allowed(bot, bot[["allow"]], event) ||
      !is_allowed(bot, command[["allow"]], event)
  ) {
    "`allow` does not list the sender"
  }
}

is_encrypted_room <- function(bot, room_id) {
  rooms <- core(machine_rooms(machine_of(bot[["client"]])))
  any(rooms[["encrypted"]][rooms[["room_id"]] == room_id])
}

# Limits -----------------------------------------------------------------------

check_limit <- function(limit, call = caller_env()) {
  is_limit <- is.numeric(limit) &&
    length(limit) %in% 1:2 &&
    !anyNA(limit) &&
    all(limit >= 1)
  if (!is_limit) {
    argument_abort(
      "limit",
      "one or two numbers: the most commands a minute of a sender, and of all",
      call
    )
  }
  if (length(limit) == 1L) c(limit, Inf) else limit
}

limit_seconds <- 60

# Counts one more of `key`: "ok", "first" where it is the first one too many, or "over".
# What was refused counts, too, so that a flood has to end first.
count_one <- function(state, key, most, now = monotonic_time()) {
  recent <- function(times) times[times > now - limit_seconds]
  times <- lapply(state[["times"]], recent)
  times <- times[lengths(times) > 0L]
  mine <- times[[key]]
  verdict <- if (length(mine) < most) {
    "ok"
  } else if (key %in% state[["told"]]) {
    "over"
  } else {
    "first"
  }
  # So many are enough to know that there are too many.
  times[[key]] <- last_of(c(mine, now), most + 1)
  state[["times"]] <- times
  told <- intersect(state[["told"]], names(times))
  state[["told"]] <- if (verdict == "ok") {
    setdiff(told, key)
  } else {
    union(told, key)
  }
  verdict
}
