# Joining rooms: by invitation, by a link or alias, after a knock.

#' Join rooms, accept invitations, and knock
#'
#' `mx_room_join()` accepts an invitation, or joins a room that you may join: a public
#' one, or a restricted one if you are in one of the rooms that it names.
#' `mx_room_knock()` asks the members of a room that allows knocking to invite you;
#' `mx_room_join()` accepts when they do.
#'
#' The name of an invitation is what its inviter chose. An invitation may still be on
#' its way when it is accepted: if the server reports that there is none, or no such
#' room, the request is repeated for some seconds (`getOption("mxcrypt.max_tries")`, 5,
#' tries in all).
#'
#' A room id does not tell where the room is. Unless your server is in the room already,
#' it needs the name of another server that is. That name comes from `via`, from a link to
#' the room, from the user who invites you, or from the user who upgraded a room of yours
#' to it.
#'
#' @inheritParams mx_client_session
#' @param room A room: its id, its alias, a link to it (`matrix.to` or `matrix:`), or, for
#'   an invitation, its exact name.
#' @param via Names of servers that are in the room, or `NULL`. Those of a link or an
#'   invitation are added.
#' @param reason The reason that all members can read, or `NULL`. It is not encrypted.
#' @return The room id, invisibly.
#' @section Errors:
#' `mx_error_room` (no such invitation, or several), `mx_error_link`,
#' `mx_error_M_FORBIDDEN` when you may not join: the message names what the room
#' requires, if the server reports it. A direct room that could not be listed in
#' `m.direct` is joined all the same, with a warning of class `mx_warning_direct_room`.
#' @references Client-server API, "Joining rooms", "Knocking on rooms", "Restricted
#'   rooms": <https://spec.matrix.org/v1.19/client-server-api/#joining-rooms>
#' @family rooms
#' @examples
#' homeserver <- mx_demo_homeserver()
#' alice <- mx_demo_client(homeserver, "alice")
#' bob <- mx_demo_client(homeserver, "bob")
#' room <- mx_room_create(alice, "Pipeline", invite = bob$user_id)
#' mx_room_join(bob, "Pipeline", reason = "to read the nightly runs")
#'
#' public <- mx_room_create(alice, public = TRUE, alias = "help")
#' mx_room_join(bob, "https://matrix.to/#/%23help:demo")
#'
#' club <- mx_room_create(alice)
#' mx_room_set_state(alice, club, "m.room.join_rules", list(join_rule = "knock"))
#' mx_room_knock(bob, club, reason = "to help")
#' mx_room_invite(alice, club, bob$user_id)
#' mx_room_join(bob, club)
#' @export
mx_room_join <- function(client, room, via = NULL, reason = NULL) {
  machine <- machine_of(check_client(client))
  check_string(reason, null = TRUE)
  way <- way_to_room(client, room, via)
  room_id <- room_id_in(join_patiently(client, way, reason))
  invitation <- direct_invitation(machine, room_id)
  core(machine_note_own_membership(machine, room_id, "join"))
  if (!is.null(invitation)) {
    add_direct_room(client, invitation[["inviter"]], room_id)
  }
  invisible(room_id)
}

#' @rdname mx_room_join
#' @export
mx_room_knock <- function(client, room, reason = NULL, via = NULL) {
  check_client(client)
  check_string(reason, null = TRUE)
  way <- way_to_room(client, room, via)
  knocked <- tryCatch(
    enter_room(client, "knock", way, reason),
    mx_error_http = function(refusal) {
      raise(explained_refusal(client, way, refusal, knocked = TRUE))
    }
  )
  invisible(room_id_in(knocked))
}

# The id or alias of a room, and the servers through which it can be reached.
way_to_room <- function(client, room, via = NULL, call = caller_env()) {
  room <- check_string(room, "room", call = call)
  via <- check_via(via, call)
  link <- read_link(room, call)
  room <- room_of_link(room, call)
  if (!grepl("^[!#]", room)) {
    room <- room_of_invitation(client, room, call)
  }
  told <- servers_told(machine_of(client, call = call), room, call)
  list(room = room, via = unique(c(via, link[["via"]], told)))
}

# The servers of users who are in a room as far as we know: who invites to it, and who
# upgraded another room to it. Specification: "Room Upgrades".
servers_told <- function(machine, room, call) {
  known <- function(id) core(machine_known_room(machine, id), call = call)
  invitation <- known(room)
  is_invited <- identical(invitation[["membership"]], "invite")
  rooms <- core(machine_rooms(machine), call = call)
  old <- rooms[["room_id"]][rooms[["successor"]] %in% room]
  tellers <- c(
    if (is_invited) invitation[["inviter"]],
    unlist(lapply(old, function(id) known(id)[["upgraded_by"]]))
  )
  server_of(tellers)
}

check_via <- function(via, call = caller_env()) {
  if (is.null(via)) {
    return(character())
  }
  via <- check_strings(via, "via", call)
  if (!all(is_server_name(via))) {
    argument_abort("via", "server names like `example.org`", call)
  }
  via
}

# The servers of user ids, as far as they have one.
server_of <- function(user_ids) {
  servers <- sub("^@[^:]*:", "", as.character(user_ids))
  unique(servers[is_server_name(servers)])
}

# Joins or knocks. Servers before v1.12 know `via` as `server_name`.
enter_room <- function(client, verb, way, reason = NULL, call = caller_env()) {
  via <- as.list(way[["via"]])
  names(via) <- rep("via", length(via))
  old <- via
  names(old) <- rep("server_name", length(old))
  path <- api_path(verb, way[["room"]], query = c(via, old))
  body <- as_object(Filter(Negate(is.null), list(reason = reason)))
  http_json(client, "POST", path, body, call = call)
}

# An invitation comes from another server, or from another process of this one: until
# then this server knows neither the invitation nor the room.
join_patiently <- function(client, way, reason = NULL, call = caller_env()) {
  tries <- http_tries()
  for (try in seq_len(tries)) {
    joined <- tryCatch(
      enter_room(client, "join", way, reason, call),
      mx_error_http = identity
    )
    if (!inherits(joined, "mx_error")) {
      return(joined)
    }
    if (try == tries || !may_come_yet(joined, way[["room"]])) {
      raise(explained_refusal(client, way, joined))
    }
    Sys.sleep(http_pause(joined, try))
  }
}

# An alias that leads nowhere has nothing to do with an invitation on its way.
may_come_yet <- function(refusal, room) {
  code <- refusal[["errcode"]]
  code == "M_FORBIDDEN" ||
    (startsWith(room, "!") &&
      isTRUE(refusal[["status"]] == 404L) &&
      code %in% c("M_NOT_FOUND", "M_UNKNOWN"))
}

# A refusal with what the room requires, if the server reports it.
explained_refusal <- function(client, way, refusal, knocked = FALSE) {
  if (!isTRUE(refusal[["status"]] %in% c(400L, 403L))) {
    return(refusal)
  }
  query <- rlang::set_names(
    as.list(way[["via"]]),
    rep_len("via", length(way[["via"]]))
  )
  path <- api_path("room_summary", way[["room"]], query = query, version = "v1")
  rlang::local_options(mxcrypt.max_tries = 1)
  summary <- tryCatch(http_json(client, "GET", path), mx_error = function(e) {
    NULL
  })
  help <- entry_help(summary, knocked)
  if (is_string(help) && nzchar(help)) {
    bullet <- rlang::format_error_bullets(c(i = help))
    refusal[["message"]] <- paste0(conditionMessage(refusal), "\n", bullet)
  }
  refusal
}

# Specification: `m.room.join_rules`, "Restricted rooms".
entry_help <- function(summary, knocked) {
  rooms <- Filter(is_room_id, as.list(summary[["allowed_room_ids"]]))
  rooms <- printable(paste(utils::head(unlist(rooms), 5L), collapse = ", "))
  first <- if (nzchar(rooms)) {
    paste0("Join one of these rooms first: ", rooms, ".")
  }
  knock <- "mx_room_knock() asks its members to let you in."
  switch(
    string_or_empty(summary[["join_rule"]]),
    invite = ,
    private = "This room lets in only who was invited.",
    knock = if (!knocked) knock,
    restricted = first %||%
      "This room lets in only members of certain other rooms.",
    knock_restricted = paste(c(first, if (!knocked) knock), collapse = " "),
    public = NULL,
    if (!knocked) {
      paste(
        "It may want an invitation, or that you are in another room first.",
        "mx_room_knock() asks to be let in."
      )
    }
  )
}

# The row of an invitation to a direct room, or NULL.
direct_invitation <- function(machine, room_id) {
  rooms <- data.frame(core(machine_rooms(machine)))
  row <- rooms[rooms[["room_id"]] %in% room_id, , drop = FALSE]
  is_one <- row[["membership"]] == "invite" &
    row[["direct"]] &
    !is.na(row[["inviter"]])
  if (any(is_one)) row
}
