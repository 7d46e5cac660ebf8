/* OpenSSL's error queue as an error. */
#include "ossl.h"

#include <openssl/err.h>

bool
error_set_ossl(struct error *err, enum err code, const char *doing)
{
    const char  *reason = ERR_reason_error_string(ERR_peek_last_error());

    ERR_clear_error();

    return error_set(err, code, "%s: %s", doing,
                     reason ? reason : "OpenSSL gives no reason");
}
