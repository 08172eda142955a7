# Posts warnings and errors of a log to a room, and shows all lines on the console.
# Run: Rscript log.R
# Needs: logger; MXCRYPT_ROOM; a login (mx_client_configure(), once).
library(logger)
library(mxcrypt)

log_appender(
  mx_logger_appender(mx_client_load(), Sys.getenv("MXCRYPT_ROOM")),
  index = 2
)
log_threshold(WARN, index = 2)

log_info("Reading the data")
log_warn("{nrow(cars)} rows, and no more")
log_error("No convergence")
