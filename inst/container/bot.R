# A bot that needs nothing but its secrets: a lost disk costs it its device, no more.
# Its commands are yours to write; see ?mx_bot.
library(mxcrypt)

client <- mx_client_configure(
  Sys.getenv("MXCRYPT_SERVER"),
  Sys.getenv("MXCRYPT_USER"),
  device_name = Sys.getenv("MXCRYPT_DEVICE_NAME", "container bot")
)
mx_crypto_setup(
  client,
  # Given here, so that the bot does not start without one.
  recovery_key = readLines(
    Sys.getenv("MXCRYPT_RECOVERY_KEY_FILE"),
    warn = FALSE
  ),
  sign_out_lost = TRUE
)
bot <- mx_bot(
  client,
  commands = list(ping = function(text = "") paste("pong", text)),
  allow = Sys.getenv("MXCRYPT_OWNER"),
  invited_by = Sys.getenv("MXCRYPT_OWNER"),
  heartbeat = Sys.getenv("MXCRYPT_HEARTBEAT", "/tmp/heartbeat")
)
mx_bot_run(bot)
