# Posts alerts of Grafana and Alertmanager, and events of GitHub, to a room.
# Run: Rscript plumber.R, and let them POST to http://127.0.0.1:8080/hook
# Needs: plumber; MXCRYPT_ROOM; MXCRYPT_WEBHOOK_SECRET; a login (mx_client_configure(), once).
library(mxcrypt)

hook <- mx_webhook_handler(mx_client_load(), Sys.getenv("MXCRYPT_ROOM"))
api <- plumber::pr()
api <- plumber::pr_post(api, "/hook", hook, parsers = "octet")
plumber::pr_run(api, port = as.integer(Sys.getenv("PORT", "8080")))
