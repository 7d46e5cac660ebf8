/* Each allocation of the CA's work fails once: an error comes out, nothing leaks. */
#include "ca_support.h"
#include "tap.h"

#include <openssl/err.h>
#include <openssl/ocsp.h>
#include <stdlib.h>
#include <time.h>

static long  fail_at, count;           /* 0: none fails */
static long  different;                /* certificates that lack something */

static void *
alloc(size_t size, const char *file, int line)
{
    (void) file, (void) line;

    return ++count == fail_at ? NULL : malloc(size);
}

static void *
change(void *p, size_t size, const char *file, int line)
{
    (void) file, (void) line;

    return ++count == fail_at ? NULL : realloc(p, size);
}

static void
release(void *p, const char *file, int line)
{
    (void) file, (void) line;
    free(p);
}

static struct ca  *ca;
static EVP_PKEY   *key;
static char       *cert_pem, *key_pem;

/* What is signed is the same as the first time: nothing is left out. */
static bool
same_as_first(X509 *cert)
{
    static unsigned char  *first;
    static int             first_len;
    unsigned char         *tbs = NULL;
    long                   at = fail_at;
    int                    len;
    bool                   same;

    fail_at = 0;
    len = i2d_re_X509_tbs(cert, &tbs);
    fail_at = at;

    if (first == NULL) {
        first = tbs;
        first_len = len;
        return true;
    }

    same = len == first_len && memcmp(tbs, first, len) == 0;
    OPENSSL_free(tbs);

    return same;
}

static bool
do_issue(struct error *err)
{
    X509  *cert = ca_issue(ca, key, &(struct ca_profile) {
        .serial = "4711", .sans = "DNS:a.example,IP:192.0.2.1", .must_staple = true,
        .not_before = NOW, .not_after = NOW + DAY, .eku = CA_EKU_SERVER_AUTH,
        .ocsp_url = "http://x/", .ca_issuers_url = "http://y/",
        .crl_url = "http://z/" }, err);
    bool   good = cert != NULL;

    different += good && !same_as_first(cert);
    X509_free(cert);

    return good;
}

static bool
do_crl(struct error *err)
{
    static const struct ca_revoked  revoked = { "77", NOW, 1 };
    struct ca_crl_spec              spec = { 1, NOW, NOW + DAY, &revoked, 1 };
    unsigned char                  *der = NULL;
    size_t                          len;
    bool                            good = ca_crl(ca, &spec, &der, &len, err);

    OPENSSL_free(der);

    return good;
}

static bool
do_ocsp(struct error *err)
{
    static const struct ca_ocsp_status  status = { CA_OCSP_REVOKED, NOW, 1 };
    struct ca_ocsp_answer               answer = { 0 };
    bool                                good;

    good = ca_ocsp_for(ca, "77", &status, NOW, DAY, &answer, err);
    OPENSSL_free(answer.der);

    return good;
}

static bool
do_load(struct error *err)
{
    struct ca  *loaded = ca_load(cert_pem, key_pem, NOW, err);
    bool        good = loaded != NULL;

    ca_free(loaded);

    return good;
}

/* Whether each allocation that fails makes work fail, with a reason. */
static void
test_work(const char *name, bool (*work)(struct error *err))
{
    long  n = 0, silent = 0, survived = 0;
    bool  good;

    work(&(struct error) { 0 });               /* what is made once and kept */

    do {
        struct error  err = { 0 };

        fail_at = ++n;
        count = 0;
        good = work(&err);
        survived += good && count >= n;
        silent += !good && err.code == ERR_NONE;
        fail_at = 0;
        ERR_clear_error();
    } while (count >= n);

    ok(good && silent == 0, "%s: %ld allocations failed in turn, %ld did not "
       "matter", name, n - 1, survived);
}

int
main(void)
{
    struct error  err = { 0 };

    if (!CRYPTO_set_mem_functions(alloc, change, release)) {
        printf("1..0 # SKIP OpenSSL keeps its allocator\n");
        return 0;
    }

    ca = test_root("ec-p256", &err);
    key = certctl_key_generate("ec-p256");
    cert_pem = ca_cert_pem(ca, &err);
    key_pem = ca_key_pem(ca, &err);

    test_work("a certificate", do_issue);
    is_int(different, 0, "no certificate lacks anything");
    test_work("a CRL", do_crl);
    test_work("an OCSP response", do_ocsp);
    test_work("an authority from PEM", do_load);

    ca_free(ca);
    EVP_PKEY_free(key);
    free(cert_pem);
    free(key_pem);

    return done_testing();
}
