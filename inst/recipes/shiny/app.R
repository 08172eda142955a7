# A room in a browser: its messages, and a field to write.
# Run: Rscript app.R, and open http://127.0.0.1:8081
# Needs: shiny, later, promises; MXCRYPT_ROOM; a login (mx_client_configure(), once).
library(shiny)
library(mxcrypt)

client <- mx_client_load()
room <- Sys.getenv("MXCRYPT_ROOM")
app <- shinyApp(
  fluidPage(mx_room_ui("room")),
  function(input, output, session) mx_room_server("room", client, room)
)
runApp(
  app,
  port = as.integer(Sys.getenv("PORT", "8081")),
  launch.browser = FALSE
)
