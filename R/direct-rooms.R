# Direct rooms: the account data `m.direct`, which all clients of a user write to.
# The core reads and changes it.
#
# Specification: client-server API, "Direct Messaging".

# A data frame of `user_id` and `room_id`.
direct_rooms <- function(client, call = caller_env()) {
  content <- direct_rooms_content(client, call)
  data.frame(core(direct_rooms_read(content), call = call))
}

# Raw JSON. The list counts as empty only if the server itself reports that there is none:
# an empty list is written over.
direct_rooms_content <- function(client, call) {
  path <- account_data_path(client, "m.direct")
  answer <- http_perform(client, "GET", path, call = call)
  if (answer[["status"]] == 200L) {
    return(answer[["body"]])
  }
  # Dendrite before 0.4 responds with 404 and M_FORBIDDEN where there is none; nobody is
  # forbidden to read their own account data.
  # https://github.com/matrix-org/dendrite/pull/1872
  code <- errcode_of(json_body(answer))
  is_none <- identical(code, "M_NOT_FOUND") ||
    (answer[["status"]] == 404L && identical(code, "M_FORBIDDEN"))
  if (is_none) {
    return(charToRaw("{}"))
  }
  http_abort(answer, call = call)
}

# Adds an existing room to the list. A failure is only a warning: the room exists.
add_direct_room <- function(client, user_ids, room_id, call = caller_env()) {
  tryCatch(
    {
      content <- direct_rooms_content(client, call)
      added <- core(direct_rooms_add(content, user_ids, room_id), call = call)
      if (!is.null(added)) {
        path <- account_data_path(client, "m.direct")
        http_json(client, "PUT", path, added, call = call)
      }
    },
    mx_error = function(condition) {
      mx_warn(
        c(
          paste0("The room ", room_id, " could not be listed as a direct one."),
          x = conditionMessage(condition),
          i = "Other clients show it among your rooms, not among your people."
        ),
        "mx_warning_direct_room",
        cause = condition
      )
    }
  )
  invisible()
}
