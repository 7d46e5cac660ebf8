/* Random bytes and digests as hex. */
#include "random.h"

#include <openssl/evp.h>
#include <openssl/rand.h>

static void
hex(const unsigned char *in, size_t n, char *out)
{
    static const char  digits[] = "0123456789abcdef";

    for (size_t i = 0; i < n; i++) {
        *out++ = digits[in[i] >> 4];
        *out++ = digits[in[i] & 15];
    }

    *out = '\0';
}

bool
random_hex(char *out, size_t n)
{
    unsigned char  raw[64];

    if (n > sizeof(raw) || RAND_bytes(raw, n) != 1) {
        return false;
    }

    hex(raw, n, out);

    return true;
}

void
sha256_hex(const void *data, size_t len, char *out)
{
    unsigned char  md[EVP_MAX_MD_SIZE];
    unsigned int   n = 0;

    EVP_Digest(data, len, md, &n, EVP_sha256(), NULL);
    hex(md, n, out);
}
