/* R calls this when it loads the library. It also keeps the linker from
 * dropping the Rust archive, which nothing else here refers to. */

void R_init_mxcrypt_extendr(void *dll);
void register_extendr_panic_hook(void);

void R_init_mxcrypt(void *dll) {
  register_extendr_panic_hook();
  R_init_mxcrypt_extendr(dll);
}
