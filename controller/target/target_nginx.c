/*
 * NGINX without the module: files and a reload on the host.  An agent there does
 * the work; what the controller knows of it is the configuration.
 */
#include "target.h"

/* An absolute path, into which a certificate's id or name may go. */
#define FILE_PATH  "/(?:[^{}\\x00-\\x1f\\x7f]|\\{id\\}|\\{common_name\\})+"
#define FILE_MODE  "0?[0-7]{3}"
#define USER_NAME  "[A-Za-z0-9_][A-Za-z0-9_.-]{0,31}"

static const struct field  fields[] = {
    { "cert_path", T_TEXT, F_REQUIRED, 2, 1000, .pattern = FILE_PATH,
      .help = "file for the chain; {id} and {common_name} are replaced" },
    { "key_path", T_TEXT, 0, 2, 1000, .pattern = FILE_PATH,
      .help = "file for the key; beside the chain unless set" },
    { "chain_path", T_TEXT, 0, 2, 1000, .pattern = FILE_PATH,
      .help = "file for the chain without its leaf; none unless set" },
    { "reload_command", T_TEXT, 0, 1, 1000, .init = "\"nginx -s reload\"",
      .help = "run after the files are written" },
    { "validate_command", T_TEXT, 0, 1, 1000, .init = "\"nginx -t\"",
      .help = "run before the reload; its failure puts the old files back" },
    { "cert_file_mode", T_TEXT, 0, 3, 4, .pattern = FILE_MODE, .init = "\"0644\"",
      .help = "mode of cert_path and chain_path, octal" },
    { "key_file_mode", T_TEXT, 0, 3, 4, .pattern = FILE_MODE, .init = "\"0600\"",
      .help = "mode of key_path, octal" },
    { "cert_file_owner", T_TEXT, 0, 1, 32, .pattern = USER_NAME, .init = "\"root\"",
      .help = "owner of the files" },
    { "cert_file_group", T_TEXT, 0, 1, 32, .pattern = USER_NAME, .init = "\"root\"",
      .help = "group of the files" },
    { "probe", T_TEXT, 0, 3, 300, .pattern = TARGET_PROBE,
      .help = "host:port where a handshake confirms the deployment" },
    { 0 }
};

const struct target  target_nginx = {
    .kind = {
        "nginx", NULL, "NginxConfig", "NGINX without the module: files and a reload",
        fields
    }
};
