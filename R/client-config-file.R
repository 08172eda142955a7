#' Path of a client's configuration file
#'
#' Returns the file that [mx_client_configure()] writes and [mx_client_load()] reads.
#'
#' @param app The name of your program. Each has its own login and store.
#' @return A path. The file is readable by its owner only; it holds the access token
#'   and the refresh token, if there is one, and never a password. An environment variable
#'   overrides the path: for the app `my-app` that is `MY_APP_MATRIX_CONFIG`.
#' @family sign-in
#' @examples
#' mx_client_config_path("my-app")
#' @export
mx_client_config_path <- function(app = "mxcrypt") {
  check_app(app)
  name <- paste0(toupper(gsub("[^A-Za-z0-9]", "_", app)), "_MATRIX_CONFIG")
  check_path(env_value(name), name, null = TRUE) %||%
    file.path(tools::R_user_dir(app, "config"), "matrix.json")
}

read_config <- function(path) {
  if (!file.exists(path)) {
    return(list())
  }
  text <- tryCatch(
    rawToChar(readBin(path, "raw", file.size(path))),
    error = function(condition) "",
    warning = function(condition) ""
  )
  config <- json_decode(checked_json(text))
  if (!is.list(config) || inherits(config, "mxcrypt_failure")) {
    mx_abort(
      paste0(path, " is not a configuration in JSON."),
      "mx_error_config"
    )
  }
  # mx.client writes a missing token as `{}`.
  Filter(is_string, config)
}

write_config <- function(config, path) {
  core(private_directory_create(dirname(path)))
  # Another package may have written one down.
  config[["password"]] <- NULL
  config <- Filter(Negate(is.null), config)
  text <- jsonlite::prettify(mxc_json(config), indent = 2)
  core(private_file_write(path, unclass(text)))
}
