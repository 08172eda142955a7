# Renders report.Rmd, which posts its figures, and posts the report.
# Run: Rscript render.R, in the directory of report.Rmd
# Needs: rmarkdown; MXCRYPT_ROOM; a login (mx_client_configure(), once).
library(mxcrypt)

mx_send_report(mx_client_load(), Sys.getenv("MXCRYPT_ROOM"), "report.Rmd")
