# What is lost for good when devices are signed out.

# A warning, or with `ask` a question that also tells the rest of the `effect`.
agree_to_sign_out <- function(
  client,
  device_ids,
  ask,
  effect,
  call = caller_env()
) {
  lost <- as.character(lost_with(client, device_ids))
  help <- if (length(lost) > 0L) {
    c(
      i = "See mx_crypto_status(), mx_crypto_repair(), mx_recovery_key_change()."
    )
  }
  names(lost) <- rep("!", length(lost))
  text <- c(effect, lost, help)
  if (ask) {
    if (length(text) > 0L && !confirm(text)) {
      mx_abort(
        "Sign-out was cancelled; you are still signed in.",
        "mx_error_declined",
        call = call
      )
    }
  } else if (length(lost) > 0L) {
    mx_warn(c("Signing out may lose keys.", text), "mx_warning_keys_lost")
  }
}

# As sentences. If it cannot be found out, for instance because the server does not
# respond, signing out must still be possible.
lost_with <- function(client, device_ids) {
  tryCatch(
    {
      now <- key_storage_now(client, machine_of(client))
      c(
        identity_lost(client, device_ids, now),
        keys_lost(client, device_ids, now)
      )
    },
    mx_error = function(condition) {
      paste(
        "Whether keys are lost could not be found out:",
        strsplit(error_text(condition), "\n", fixed = TRUE)[[1]][[1]]
      )
    }
  )
}

identity_lost <- function(client, device_ids, now) {
  if (
    is.null(now[["identity"]][["master_key"]]) ||
      describe_key_storage(now)[["recovery"]] == "set_up"
  ) {
    return(NULL)
  }
  devices <- mx_devices(client, client[["user_id"]])
  # A dehydrated device gives nobody anything.
  holds <- devices[["signed_by_owner"]] & !devices[["dehydrated"]]
  holders <- devices[["device_id"]][holds]
  if (!all(identity_keys %in% now[["identity"]][["held"]])) {
    holders <- setdiff(holders, client[["device_id"]])
  }
  if (length(setdiff(holders, device_ids)) == 0L) {
    paste(
      "No other device has your identity, and recovery is not set up: a new",
      "identity would be needed, and what is in the key backup could not be read."
    )
  }
}

# Message keys that nobody else has; they stay readable here, with the store.
keys_lost <- function(client, device_ids, now) {
  backup <- now[["backup"]]
  alone <- backup[["keys"]]
  if (describe_key_storage(now)[["on"]]) {
    alone <- alone - backup[["backed_up"]]
  }
  if (client[["device_id"]] %in% device_ids && alone > 0) {
    paste("Message keys that are in this store alone:", alone)
  }
}
