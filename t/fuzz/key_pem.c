/* Private keys as PEM and as PKCS#8: what is taken is written and taken again. */
#include "fuzz.h"
#include "x509_key.h"

static void
ask(EVP_PKEY *key)
{
    unsigned char  *der = NULL;
    int             n;
    EVP_PKEY       *again;

    FUZZ_MUST(certctl_key_type(key) != NULL);

    if (certctl_key_check(key) != NULL) {
        EVP_PKEY_free(key);
        return;
    }

    n = certctl_key_to_der(key, &der);

    if (n >= 0) {
        again = certctl_key_from_der(der, n);
        FUZZ_MUST(again && EVP_PKEY_eq(key, again) == 1);
        EVP_PKEY_free(again);
        OPENSSL_clear_free(der, n);
    }

    EVP_PKEY_free(key);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    const char  *why = NULL;
    EVP_PKEY    *key;

    if (len > 16384) {
        return 0;
    }

    key = certctl_key_from_pem((const char *) data, len, &why);
    FUZZ_QUIET();

    if (key) {
        ask(key);

    } else {
        FUZZ_MUST(why != NULL);
    }

    key = certctl_key_from_der(data, len);

    if (key) {
        ask(key);
    }

    FUZZ_QUIET();

    return 0;
}
