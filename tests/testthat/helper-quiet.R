# What mx_crypto_setup() tells, hundreds of times, would hide what a test says.
options(cli.default_handler = function(message) invisible())
