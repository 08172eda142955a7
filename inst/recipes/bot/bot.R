# A bot: !status and !rows 3 in a room, !help for both.
# Run: Rscript bot.R; as a service with systemd/mxcrypt-bot.service or in inst/container.
# Needs: later, promises; your user id in MXCRYPT_OWNER; a login (mx_client_configure(), once).
library(mxcrypt)

bot <- mx_bot(
  mx_client_load(),
  commands = list(
    status = function() paste("Load:", readLines("/proc/loadavg")),
    rows = mx_command(
      function(n = 3L) head(cars, n),
      help = "The first rows of cars"
    )
  ),
  allow = Sys.getenv("MXCRYPT_OWNER"),
  invited_by = Sys.getenv("MXCRYPT_OWNER")
)
mx_bot_run(bot)
