#' Account management page of your server
#'
#' Returns the address of the web page on which a server that signs in by OAuth 2.0 lets
#' you manage your account: sign out devices, reset your identity, change your profile.
#' [mx_device_delete()] and [mx_cross_signing_reset()] raise an error of class
#' `mx_error_approval` with an address there in `url`. When you have done it there, make
#' the same call again.
#'
#' @param client A client.
#' @param action What you want to do there: `"profile"`, `"devices_list"`,
#'   `"device_view"`, `"device_delete"`, `"account_deactivate"` or
#'   `"cross_signing_reset"`. If the server has no page for it, or with `NULL`, the
#'   address of the front page is returned.
#' @param device_id The device, with `"device_view"` and `"device_delete"`.
#' @return One string.
#' @section Errors:
#' `mx_error_account_page` when the server has no such page, `mx_error_network`.
#' @references Client-server API, "Account management":
#'   <https://spec.matrix.org/v1.19/client-server-api/#oauth-20-account-management>
#' @family sign-in
#' @examples
#' homeserver <- mx_demo_homeserver()
#' alice <- mx_demo_client(homeserver, "alice")
#' # The demo homeserver signs in with passwords, and has no page.
#' tryCatch(
#'   mx_account_url(alice, "devices_list"),
#'   mx_error_account_page = function(condition) conditionMessage(condition)
#' )
#' @export
mx_account_url <- function(client, action = NULL, device_id = NULL) {
  check_client(client)
  is_action <- is_string(action) && action %in% names(account_actions)
  if (!is.null(action) && !is_action) {
    actions <- paste0("\"", names(account_actions), "\"", collapse = ", ")
    argument_abort("action", paste("one of", actions), caller_env())
  }
  check_string(device_id, null = TRUE)
  account_url(client, action, device_id)
}

# The names in the specification, and older names that servers of 2025 use.
account_actions <- list(
  profile = "org.matrix.profile",
  devices_list = c("org.matrix.devices_list", "org.matrix.sessions_list"),
  device_view = c("org.matrix.device_view", "org.matrix.session_view"),
  device_delete = c("org.matrix.device_delete", "org.matrix.session_end"),
  account_deactivate = "org.matrix.account_deactivate",
  cross_signing_reset = "org.matrix.cross_signing_reset"
)

account_url <- function(client, action, device_id, call = caller_env()) {
  local_ca_file(client[["ca_file"]])
  metadata <- oauth_metadata(client[["server"]], call)
  page <- metadata[["account_management_uri"]]
  if (is.null(page)) {
    mx_abort(
      c(
        paste0(client[["server"]], " has no page to manage accounts."),
        i = "Ask whoever runs the server."
      ),
      "mx_error_account_page",
      call = call
    )
  }
  known <- intersect(account_actions[[action %||% ""]], metadata[["actions"]])
  if (length(known) == 0L) {
    return(page)
  }
  query <- paste0("action=", encode_segment(known[[1]]))
  if (!is.null(device_id)) {
    query <- paste0(query, "&device_id=", encode_segment(device_id))
  }
  paste0(page, if (grepl("?", page, fixed = TRUE)) "&" else "?", query)
}

# A login of OAuth 2.0 manages its account on the server's page, not by requests.
has_account_page <- function(client) {
  identical(read_config(client[["path"]])[["method"]], "oauth")
}

# One page signs out one device.
delete_on_page <- function(client, device_ids, call) {
  listed <- signed_in_devices(client, call)[["device_id"]]
  left <- intersect(device_ids, listed)
  if (length(left) == 0L) {
    return(invisible())
  }
  url <- account_url(client, "device_delete", left[[1]], call)
  mx_abort(
    c(
      paste0(
        "Devices are signed out on the server's own page: ",
        left[[1]],
        "."
      ),
      i = paste0("Open ", url, " in a browser, and sign it out there."),
      i = "Then make this call again, as it was: it goes on from here."
    ),
    "mx_error_approval",
    url = url,
    devices = left,
    call = call
  )
}
