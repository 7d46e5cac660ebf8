/*
 * CRLs from what the database says was revoked: number, thisUpdate and
 * nextUpdate, then for each entry its time, reason, length of serial, serial.
 */
#include "fuzz.h"
#include "ca.h"

#define ENTRIES  16

static int64_t
number(const uint8_t **p)
{
    int64_t  n;

    memcpy(&n, *p, sizeof(n));
    *p += sizeof(n);

    return n;
}

static size_t
entries(const uint8_t *p, const uint8_t *end, struct ca_revoked *entry)
{
    size_t  n, len;

    for (n = 0; n < ENTRIES && end - p > 10; n++) {
        entry[n].revoked_at = number(&p);
        entry[n].reason = (int8_t) *p++;
        len = *p++;
        len = len > (size_t) (end - p) ? (size_t) (end - p) : len;
        entry[n].serial = fuzz_text(p, len);
        p += len;
    }

    return n;
}

static void
look(const unsigned char *der, size_t len, size_t n)
{
    const unsigned char  *p = der;
    X509_CRL             *crl = d2i_X509_CRL(NULL, &p, (long) len);

    FUZZ_MUST(crl && p == der + len);
    FUZZ_MUST(X509_CRL_verify(crl, fuzz_ca()->key) == 1);
    FUZZ_MUST((size_t) sk_X509_REVOKED_num(X509_CRL_get_REVOKED(crl)) == n
              || n == 0);
    X509_CRL_free(crl);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct ca             ca = { .cert = fuzz_ca()->cert, .key = fuzz_ca()->key };
    struct ca_revoked     revoked[ENTRIES];
    struct ca_crl_spec    spec = { .revoked = revoked };
    struct error          err = { 0 };
    const uint8_t        *p = data;
    unsigned char        *der = NULL;
    size_t                der_len;

    if (len < 24) {
        return 0;
    }

    spec.number = number(&p);
    spec.this_update = number(&p);
    spec.next_update = number(&p);
    spec.nrevoked = entries(p, data + len, revoked);

    if (ca_crl(&ca, &spec, &der, &der_len, &err)) {
        look(der, der_len, spec.nrevoked);
        OPENSSL_free(der);

    } else {
        FUZZ_MUST(err.code != ERR_NONE && *err.detail);
    }

    while (spec.nrevoked--) {
        free((char *) revoked[spec.nrevoked].serial);
    }

    ERR_clear_error();

    return 0;
}
