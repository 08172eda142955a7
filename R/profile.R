# Profiles. Specification: client-server API, "Profiles".

#' Display name and avatar
#'
#' `mx_profile()` reads the display name and the avatar of a user, `mx_profile_set()` sets
#' your own. Readers recognise a bot by them.
#'
#' A profile is public: servers show it to anybody, and a change is an event in each of your
#' rooms. Neither name nor avatar is encrypted, and neither identifies a user: every
#' user chooses their own.
#'
#' @inheritParams mx_client_session
#' @param user_id A user, or `NULL` for yourself.
#' @param name The display name, `NA` for none, or `NULL` to leave it as it is.
#' @param avatar The path of a picture, an address that begins with `mxc://`, `NA` for
#'   none, or `NULL` to leave it as it is. A file is uploaded in the clear.
#' @return A data frame of one row: `user_id`, `display_name` and `avatar_url`, `NA` where
#'   there is none, also if there is no such user; of `mx_profile_set()` invisibly.
#' @section Errors:
#' `mx_error_attachment` when the avatar cannot be read, or is not a picture.
#' `mx_error_M_FORBIDDEN` when the server does not let you change, or read, the profile.
#' @references Client-server API, "Profiles":
#'   <https://spec.matrix.org/v1.19/client-server-api/#profiles>
#' @family rooms
#' @examples
#' homeserver <- mx_demo_homeserver()
#' alice <- mx_demo_client(homeserver, "alice")
#' mx_profile_set(alice, name = "Nightly runs")
#' mx_profile(alice)
#' @export
mx_profile <- function(client, user_id = NULL) {
  check_client(client)
  user_id <- user_id %||% client[["user_id"]]
  check_user_ids(check_string(user_id), "user_id")
  # Some servers respond with 404 to a user who has no profile.
  profile <- tryCatch(
    http_json(client, "GET", api_path("profile", user_id)),
    mx_error_M_NOT_FOUND = function(condition) list()
  )
  text <- function(name) {
    value <- string_or_na(profile[[name]])
    if (nzchar(value, keepNA = FALSE)) value else NA_character_
  }
  data.frame(
    user_id = user_id,
    display_name = text("displayname"),
    avatar_url = text("avatar_url")
  )
}

#' @rdname mx_profile
#' @export
mx_profile_set <- function(client, name = NULL, avatar = NULL) {
  check_client(client)
  if (!is.null(name)) {
    name <- text_or_none(name, "name")
  }
  if (!is.null(avatar)) {
    avatar <- text_or_none(avatar, "avatar")
    picture <- avatar_picture(avatar)
  }
  if (!is.null(name)) {
    set_profile(client, "displayname", name)
  }
  if (!is.null(avatar)) {
    if (!is.null(picture)) {
      check_upload_sizes(client, list(picture), caller_env())
      avatar <- upload_bytes(client, picture[["bytes"]], picture[["type"]])
    }
    set_profile(client, "avatar_url", avatar)
  }
  invisible(mx_profile(client))
}

# NA becomes empty text, by which servers of all versions remove a field.
text_or_none <- function(x, name, call = caller_env()) {
  if (length(x) == 1L && is.atomic(x) && is.na(x)) {
    ""
  } else {
    check_string(x, name, call = call)
  }
}

set_profile <- function(client, field, value, call = caller_env()) {
  path <- api_path("profile", client[["user_id"]], field)
  body <- rlang::set_names(list(value), field)
  http_json(client, "PUT", path, body, call = call)
}

# The bytes and type of a picture file, or NULL if there is nothing to upload.
avatar_picture <- function(avatar, call = caller_env()) {
  if (!nzchar(avatar) || startsWith(avatar, "mxc://")) {
    if (nzchar(avatar)) {
      core(media_address(avatar), call = call)
    }
    return(NULL)
  }
  file <- files_of(avatar, NULL, NULL, NULL, call, arg = "avatar")[[1]]
  if (!startsWith(file[["type"]], "image/")) {
    argument_abort("avatar", "the path of a picture", call, file[["type"]])
  }
  path <- check_path(avatar, "avatar", call = call)
  bytes <- readBin(path, "raw", file[["size"]])
  list(bytes = bytes, size = length(bytes), type = file[["type"]])
}
