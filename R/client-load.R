#' Load a configured client
#'
#' Reads the configuration that [mx_client_configure()] wrote. Call it at the start of
#' every script.
#'
#' @param app The name of your program, as given to [mx_client_configure()].
#' @param path The configuration file, instead of the app's.
#' @return A client, of class `mx_client`. No request is made.
#' @section Errors:
#' `mx_error_config` when there is no configuration.
#' @family sign-in
#' @examples
#' homeserver <- mx_demo_homeserver()
#' alice <- mx_demo_client(homeserver, "alice")
#' mx_client_load(path = alice$path)
#' @export
mx_client_load <- function(app = "mxcrypt", path = NULL) {
  check_app(app)
  path <- check_path(path, null = TRUE) %||% mx_client_config_path(app)
  config <- read_config(path)
  missing <- setdiff(c("server", "user_id", "device_id"), names(config))
  if (length(missing) > 0L) {
    mx_abort(
      c(
        paste0("There is no usable configuration at ", path, "."),
        i = "Sign in once with mx_client_configure()."
      ),
      "mx_error_config"
    )
  }
  forget_tokens(path)
  remember_tokens(path, config)
  new_client(config, path, config[["app"]] %||% app)
}
