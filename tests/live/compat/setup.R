library(mxcrypt)

client <- mx_client_load(app = "myapp")      # see mx_client_configure()
store  <- mx_crypto_store_dir("myapp")       # under tools::R_user_dir()
acct   <- mx_crypto_account(store)           # load or mint identity keys

mx_crypto_publish_keys(client, acct, store, n_otks = 50L)
