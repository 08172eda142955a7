# History that is shared with those who are invited: the keys of what was said
# before they came, in an encrypted file whose own key goes to their devices.

# Gives `user_id` the keys that may be shared. That they cannot be given is no
# reason not to invite: it is a warning.
share_history <- function(client, room_id, user_id, call = caller_env()) {
  machine <- machine_of(client, call = call)
  failed <- function(condition) {
    mx_warn(
      c(
        paste0(user_id, " cannot be given the keys of what was said before."),
        x = conditionMessage(condition),
        i = "They are invited, and read what is said from now on."
      ),
      "mx_warning_history_not_shared",
      call = call
    )
  }
  tryCatch(
    {
      # A device that came later has few keys itself.
      backup <- backup_now(client, machine, call)
      if (backup[["key_held"]]) {
        restore_keys(client, machine, backup, room_id, call = call)
      }
      bundle <- core(machine_make_key_bundle(machine, room_id), call = call)
      if (!is.null(bundle)) {
        number <- bundle[["number"]]
        url <- upload_bytes(client, bundle[["bytes"]], call = call)
        core(
          machine_share_key_bundle(machine, number, url, user_id),
          call = call
        )
        waits <- function() core(machine_key_bundle_waits(machine, number))
        pump(
          client,
          until = function() !waits(),
          users = user_id,
          kinds = "keys_claim",
          call = call
        )
      }
    },
    mx_error_http = failed,
    mx_error_network = failed,
    mx_error_answer = failed
  )
  invisible()
}
