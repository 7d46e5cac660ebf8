/* x509_facts: the quick walk says what OpenSSL says, or gives up. */
#include "pki.h"
#include "tap.h"
#include "x509_facts.h"
#include "x509_info.h"
#include <stdint.h>

static const struct {
    const char      *what;
    struct pki_spec  spec;
} certs[] = {
    { "a leaf", { .cn = "a.example", .sans = "DNS:a.example" } },
    { "an authority", { .cn = "CA", .ca = 1 } },
    { "RSA", { .cn = "r.example", .rsa_bits = 2048 } },
    { "no names at all", { .serial = 1 } },
    { "must-staple", { .cn = "s", .ext = { { NID_tlsfeature, "status_request" } } } },
    { "another TLS feature", { .cn = "s", .ext = { { NID_tlsfeature, "17" } } } },
    { "two TLS features", { .cn = "s", .ext = { { NID_tlsfeature, "17,5" } } } },
    { "a responder and an issuer", { .cn = "o", .ext = { { NID_info_access,
        "OCSP;URI:http://ocsp.example/x,caIssuers;URI:http://ca.example/" } } } },
    { "an issuer alone", { .cn = "o", .ext = { { NID_info_access,
        "caIssuers;URI:http://ca.example/" } } } },
    { "both extensions", { .cn = "b", .ext = { { NID_tlsfeature, "5" },
        { NID_info_access, "OCSP;URI:http://o.example" } } } },
    { "times in 1950", { .cn = "t", .from = -2390000000L, .to = -1800000000L } },
    { "times behind 2049", { .cn = "t", .from = 0, .to = 100 * 365 * DAY } },
    { "a very long life", { .cn = "t", .from = -DAY, .to = 7000 * 365L * DAY } },
};

#define CERTS  (sizeof(certs) / sizeof(certs[0]))

static void
as_openssl(void)
{
    char                       url[256];
    int                        len, i;
    struct pki                 p;
    unsigned char             *der, *more;
    struct certctl_x509_info   info;
    struct certctl_x509_facts  facts;

    for (size_t n = 0; n < CERTS; n++) {
        p = pki_make(&certs[n].spec, NULL);
        len = pki_der(p.cert, &der);
        PKI_MUST(certctl_x509_info(p.cert, &info) == NULL);
        certctl_x509_ocsp_url(p.cert, url, sizeof(url));

        more = malloc(len + 7);
        memcpy(more, der, len);
        memset(more + len, 0x30, 7);

        ok(certctl_x509_facts(more, len + 7, &facts), "%s: is read, with more behind it",
           certs[n].what);
        is_int(facts.len, len, "its length");
        ok(facts.not_before == info.not_before && facts.not_after == info.not_after,
           "the same times");
        ok(facts.must_staple == info.must_staple && facts.ocsp == (url[0] != '\0'),
           "the same flags");

        for (i = 0; i < len && !certctl_x509_facts(der, i, &facts); i++) { /* void */ }
        is_int(i, len, "cut anywhere it is not");

        free(more);
        OPENSSL_free(der);
        pki_free(&p);
    }
}

/* Each bit of each byte: the walk must not say another thing than OpenSSL. */
static void
flipped(void)
{
    char                       url[256];
    int                        len, read = 0, wrong = 0, unusual = 0;
    struct pki                 p = PKI(NULL, .cn = "f", .ext = {
                                   { NID_tlsfeature, "status_request" },
                                   { NID_info_access, "OCSP;URI:http://o.example" } });
    unsigned char             *der;
    const unsigned char       *at;
    X509                      *cert;
    struct certctl_x509_info   info;
    struct certctl_x509_facts  facts;

    len = pki_der(p.cert, &der);

    for (int i = 0; i < len * 8; i++) {
        der[i / 8] ^= 1 << i % 8;
        at = der;
        cert = d2i_X509(NULL, &at, len);

        if (cert != NULL && certctl_x509_info(cert, &info) == NULL
            && certctl_x509_facts_read(der, len, &facts) == NULL)
        {
            read++;
            unusual += !certctl_x509_facts(der, len, &facts);
            certctl_x509_ocsp_url(cert, url, sizeof(url));
            wrong += facts.len != (size_t) (at - der)
                     || facts.not_before != info.not_before || facts.not_after != info.not_after
                     || facts.must_staple != info.must_staple
                     || facts.ocsp != (url[0] != '\0');
        }

        X509_free(cert);
        ERR_clear_error();
        der[i / 8] ^= 1 << i % 8;
    }

    ok(read > 1000, "%d of %d flipped bits leave a certificate", read, len * 8);
    ok(unusual > 0, "%d of them are not of the usual shape", unusual);
    is_int(wrong, 0, "none is read another way");
    OPENSSL_free(der);
    pki_free(&p);
}

int
main(void)
{
    as_openssl();
    flipped();

    return done_testing();
}
