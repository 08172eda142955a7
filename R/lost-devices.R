# Devices that a lost disk has left behind. A server lists them for ever, and they
# are given every room key. Whether a device is one of them only a person can say:
# other devices that have the name of this one may be.

# Says which they are, and offers to sign them out where a person is there.
offer_sign_out <- function(client, password) {
  warn_not_signed_out({
    namesakes <- devices_of_this_name(client)
    if (nrow(namesakes) > 0L) {
      sign_out_if_lost(client, namesakes, password)
    }
  })
}

# For a bot that nobody watches: its owner has said that no other device has its name.
sign_out_namesakes <- function(client, password, done, call = caller_env()) {
  warn_not_signed_out({
    namesakes <- devices_of_this_name(client, own_name = TRUE, call = call)
    n <- nrow(namesakes)
    if (n > 0L) {
      ids <- namesakes[["device_id"]]
      mx_device_delete(client, ids, password, ask = FALSE)
      done(paste("signed out", plural(n, "lost device")))
    }
  })
}

# No failure stops the set-up but a name that other programs have too.
warn_not_signed_out <- function(code) {
  tryCatch(
    code,
    mx_error = function(condition) {
      if (inherits(condition, "mx_error_argument")) {
        raise(condition)
      }
      mx_warn(
        c(
          "Devices that may be lost were not signed out.",
          x = conditionMessage(condition),
          i = "mx_devices() lists your devices, mx_device_delete() signs some out."
        ),
        "mx_warning_devices",
        cause = condition
      )
    }
  )
  invisible()
}

# Other devices of this account with the name of this one, last seen first. With
# `own_name`, the default name is an error: it is that of any script of the owner.
devices_of_this_name <- function(
  client,
  own_name = FALSE,
  call = caller_env()
) {
  devices <- signed_in_devices(client)
  is_this <- devices[["device_id"]] == client[["device_id"]]
  name <- devices[["display_name"]][is_this]
  if (own_name && any(name %in% default_device_name)) {
    mx_abort(
      c(
        "`sign_out_lost` needs a device with a name of its own.",
        x = paste0("This one has the default name: ", default_device_name, "."),
        i = "Give one to mx_client_configure(): `device_name`."
      ),
      "mx_error_argument",
      call = call
    )
  }
  same <- !is_this & devices[["display_name"]] %in% name[!is.na(name)]
  devices <- devices[same, , drop = FALSE]
  devices[order(devices[["last_seen_ts"]], decreasing = TRUE), , drop = FALSE]
}

sign_out_if_lost <- function(client, devices, password) {
  n <- nrow(devices)
  devices <- utils::head(devices, 10)
  ids <- devices[["device_id"]]
  seen <- devices[["last_seen_ts"]]
  seen <- ifelse(
    is.na(seen),
    "at an unknown time",
    format(seen, "%Y-%m-%d %H:%M", tz = "", usetz = TRUE)
  )
  tell(c(
    paste0(
      plural(n, "other device is", "other devices are", "named \""),
      printable(devices[["display_name"]][[1]]),
      "\":"
    ),
    paste0("  ", printable(ids), ", last seen ", seen),
    if (n > length(ids)) paste("  and", format_count(n - length(ids)), "more")
  ))
  one <- length(ids) == 1L
  if (rlang::is_interactive()) {
    question <- if (one) {
      "Is its disk lost? Sign it out?"
    } else {
      paste("Are the disks of these", length(ids), "lost? Sign them out?")
    }
    if (ask_yes(question)) {
      mx_device_delete(client, ids, password, ask = FALSE)
    }
  } else {
    quoted <- paste(encodeString(printable(ids), quote = "\""), collapse = ", ")
    tell(paste0(
      if (one) {
        "If its disk is lost, sign it out: "
      } else {
        "Sign out what is lost: "
      },
      "mx_device_delete(client, ",
      if (one) quoted else paste0("c(", quoted, ")"),
      ")"
    ))
  }
}
