# Runs a targets pipeline, and tells a room how it ended and which targets failed.
# Run: Rscript run.R, in the directory of _targets.R; from cron, for example.
# Needs: targets; a room in MXCRYPT_ROOM; a login (mx_client_configure(), once).
library(targets)

run <- function() {
  tryCatch(tar_make(), error = function(condition) {
    failed <- tar_meta(fields = "error", complete_only = TRUE)
    reasons <- c(
      conditionMessage(condition),
      paste0(failed$name, ": ", failed$error)
    )
    stop(paste(reasons, collapse = "\n"), call. = FALSE)
  })
}
mxcrypt::with_mx_notification(run(), name = "Pipeline", value = FALSE)
