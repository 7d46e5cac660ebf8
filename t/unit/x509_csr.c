/* x509_csr: requests we make and requests we are given. */
#include "pki.h"
#include "tap.h"
#include "wire.h"
#include "x509_key.h"
#include "x509_san.h"
#include <openssl/rsa.h>

static void
checks_names(void)
{
    static const struct {
        const char  *sans;
        const char  *rule;          /* NULL: it is good */
    } rows[] = {
        { "DNS:a.example", NULL },
        { "DNS:localhost", NULL },
        { "DNS:*.a.example", NULL },
        { "DNS:xn--bcher-kva.example", NULL },
        { "DNS:a.example,IP:192.0.2.1,IP:2001:db8::1,URI:urn:certctl:agent:ag-1,"
          "email:a@b.example", NULL },
        { "", "names are written" },
        { "a.example", "names are written" },
        { "dns:a.example", "names are written" },
        { "DNS:a.example,", "names are written" },
        { "DNS:a.example,,DNS:b.example", "names are written" },
        { "DNS:a.example, DNS:b.example", "names are written" },
        { "DirName:x", "names are written" },
        { "DNS:", "1 to 63" },
        { "DNS:a..b", "1 to 63" },
        { "DNS:.a", "1 to 63" },
        { "DNS:a.", "1 to 63" },
        { "DNS:-a.example", "begin or end" },
        { "DNS:a-.example", "begin or end" },
        { "DNS:a_b.example", "letters, digits" },
        { "DNS:a b.example", "letters, digits" },
        { "DNS:b\xc3\xbc" "cher.example", "A-labels" },
        { "DNS:ab--c.example", "A-label" },
        { "DNS:*", "letters, digits" },
        { "DNS:*.example", "two labels" },
        { "DNS:a.*.example", "letters, digits" },
        { "DNS:w*.example.com", "letters, digits" },
        { "DNS:*.*.example", "letters, digits" },
        { "DNS:192.0.2.1", "all digits" },
        { "IP:192.0.2", "one IPv4 or IPv6" },
        { "IP:192.0.2.1/32", "one IPv4 or IPv6" },
        { "IP:", "one IPv4 or IPv6" },
        { "URI:nothing", "scheme" },
        { "URI::x", "scheme" },
        { "URI:a b:x", "scheme" },
        { "URI:urn:a b", "printable" },
        { "email:nobody", "local@domain" },
        { "email:@x", "local@domain" },
        { "email:a@b@c", "local@domain" },
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const char  *why = certctl_sans_check(rows[i].sans);

        ok(rows[i].rule ? why && strstr(why, rows[i].rule) : why == NULL,
           "\"%s\": %s", rows[i].sans, why ? why : "good");
    }
}

static void
counts_names(void)
{
    char         text[8192] = "", label[64 + 1];
    const char  *why;
    size_t       n = 0;

    for (int i = 0; i < CERTCTL_SANS_MAX; i++) {
        n += snprintf(text + n, sizeof(text) - n, "%sDNS:n%d.example", i ? "," : "", i);
    }

    ok(certctl_sans_check(text) == NULL, "as many names as allowed");
    snprintf(text + n, sizeof(text) - n, ",DNS:x.example");
    why = certctl_sans_check(text);
    ok(why && strstr(why, "at most 100"), "one more is refused");

    memset(label, 'a', 64);
    label[64] = '\0';
    n = snprintf(text, sizeof(text), "DNS:%.63s.%.63s.%.63s.%.61s", label, label,
                 label, label);
    ok(certctl_sans_check(text) == NULL, "253 characters");
    snprintf(text + n, sizeof(text) - n, "b");
    why = certctl_sans_check(text);
    ok(why && strstr(why, "253"), "254 are refused");
    snprintf(text, sizeof(text), "DNS:%s.example", label);
    why = certctl_sans_check(text);
    ok(why && strstr(why, "63"), "a label of 64 is refused");
    memset(text, 'a', 5000);
    text[5000] = '\0';
    memcpy(text, "URI:urn:", 8);
    why = certctl_sans_check(text);
    ok(why && strstr(why, "1024"), "a very long name is refused");
}

static void
round_trip(void)
{
    static const char  *types[] = { "ec-p256", "ec-p384", "rsa-2048", "ed25519" };
    const char         *sans = "DNS:b.example,DNS:*.a.example,IP:192.0.2.1,"
                               "IP:2001:db8::1,URI:urn:x:y";

    for (size_t i = 0; i < 4; i++) {
        EVP_PKEY    *key = certctl_key_generate(types[i]);
        const char  *why;
        X509_REQ    *req, *again;
        char        *pem, *text;

        req = certctl_csr_build(key, sans, i % 2, &why);
        ok(req && why == NULL, "%s: a request is made", types[i]);
        is_int(X509_NAME_entry_count(X509_REQ_get_subject_name(req)), 0,
               "with an empty subject");

        pem = certctl_csr_to_pem(req);
        again = certctl_csr_from_pem(pem, strlen(pem), &why);
        ok(again && why == NULL, "%s: and believed", types[i]);
        text = certctl_csr_sans(again);
        is_str(text, sans, "names in the order given");
        ok(certctl_csr_must_staple(again) == (i % 2 == 1), "must-staple");

        /* what RFC 5280 4.2.1.6 says of an empty subject is of certificates */
        STACK_OF(X509_EXTENSION)  *exts = X509_REQ_get_extensions(again);
        int  at = X509v3_get_ext_by_NID(exts, NID_subject_alt_name, -1);

        ok(at >= 0 && !X509_EXTENSION_get_critical(X509v3_get_ext(exts, at)),
           "subjectAltName is not critical");
        sk_X509_EXTENSION_pop_free(exts, X509_EXTENSION_free);

        OPENSSL_free(text);
        OPENSSL_free(pem);
        X509_REQ_free(req);
        X509_REQ_free(again);
        EVP_PKEY_free(key);
    }
}

/* A request with this extension value, signed by signer over md; pss: padded so. */
static char *
forge_over(EVP_PKEY *key, EVP_PKEY *signer, GENERAL_NAMES *names, int twice,
    const EVP_MD *md, int pss)
{
    EVP_MD_CTX                *ctx = EVP_MD_CTX_new();
    EVP_PKEY_CTX              *pctx;
    STACK_OF(X509_EXTENSION)  *exts = NULL;
    X509_REQ                  *req = X509_REQ_new();
    char                      *pem;

    for (int i = 0; i <= twice; i++) {
        PKI_MUST(X509V3_add1_i2d(&exts, NID_subject_alt_name, names, 0,
                                 X509V3_ADD_APPEND) == 1);
    }
    PKI_MUST(X509_REQ_set_pubkey(req, key) && X509_REQ_add_extensions(req, exts)
             && EVP_DigestSignInit(ctx, &pctx, md, NULL, signer));
    PKI_MUST(!pss || EVP_PKEY_CTX_set_rsa_padding(pctx, RSA_PKCS1_PSS_PADDING)
             == 1);
    PKI_MUST(X509_REQ_sign_ctx(req, ctx));
    pem = certctl_csr_to_pem(req);
    sk_X509_EXTENSION_pop_free(exts, X509_EXTENSION_free);
    X509_REQ_free(req);
    EVP_MD_CTX_free(ctx);
    return pem;
}

static char *
forge(EVP_PKEY *key, EVP_PKEY *signer, GENERAL_NAMES *names, int twice)
{
    return forge_over(key, signer, names, twice, EVP_sha256(), 0);
}

static void
judges_hashes(void)
{
    static const struct {
        const char  *key;
        const char  *md;
        int          pss;
        int          good;
    } rows[] = {
        { "ec-p256", "SHA1", 0, 0 }, { "rsa-2048", "SHA1", 0, 0 },
        { "rsa-2048", "MD5", 0, 0 }, { "rsa-2048", "SHA1", 1, 0 },
        { "rsa-2048", "SHA256", 0, 1 }, { "rsa-2048", "SHA256", 1, 1 },
        { "rsa-2048", "SHA512", 1, 1 }, { "ec-p256", "SHA384", 0, 1 },
        { "ed25519", NULL, 0, 1 },
    };
    GENERAL_NAMES  *names = certctl_sans_parse("DNS:a.example", &(const char *) { 0 });

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const char  *why = NULL;
        EVP_PKEY    *key = certctl_key_generate(rows[i].key);
        const EVP_MD *md = rows[i].md ? EVP_get_digestbyname(rows[i].md) : NULL;
        char        *pem = forge_over(key, key, names, 0, md, rows[i].pss);
        X509_REQ    *req = certctl_csr_from_pem(pem, strlen(pem), &why);

        ok(rows[i].good ? req != NULL : why && strstr(why, "weak"),
           "%s over %s%s: %s", rows[i].key, rows[i].md ? rows[i].md : "its own",
           rows[i].pss ? ", PSS" : "", why ? why : "good");
        X509_REQ_free(req);
        OPENSSL_free(pem);
        EVP_PKEY_free(key);
    }

    GENERAL_NAMES_free(names);
}

static void
refuses_pem(char *pem, const char *what, const char *rule)
{
    const char  *why = NULL;
    X509_REQ    *req = certctl_csr_from_pem(pem, strlen(pem), &why);

    ok(req == NULL && why && strstr(why, rule), "%s: %s", what,
       why ? why : "was accepted");
    X509_REQ_free(req);
}

static GENERAL_NAMES *
one_name(int type, const char *text)
{
    GENERAL_NAMES   *names = GENERAL_NAMES_new();
    GENERAL_NAME    *gn = GENERAL_NAME_new();
    ASN1_IA5STRING  *str = ASN1_IA5STRING_new();

    ASN1_STRING_set(str, text, -1);
    GENERAL_NAME_set0_value(gn, type, str);
    sk_GENERAL_NAME_push(names, gn);
    return names;
}

static void
refuses_forgeries(void)
{
    EVP_PKEY       *key = certctl_key_generate("ec-p256");
    EVP_PKEY       *other = certctl_key_generate("ec-p256");
    EVP_PKEY       *weak = EVP_RSA_gen(1024);
    GENERAL_NAMES  *plain = one_name(GEN_DNS, "a.example");
    GENERAL_NAMES  *comma = one_name(GEN_URI, "urn:x,DNS:evil.example");
    char           *pem, *two;
    size_t          size;

    pem = forge(key, other, plain, 0);
    refuses_pem(pem, "signed by another key", "not signed by its own");
    OPENSSL_free(pem);

    pem = forge(weak, weak, plain, 0);
    refuses_pem(pem, "a weak key", "2048");
    OPENSSL_free(pem);

    pem = forge(key, key, comma, 0);
    refuses_pem(pem, "a comma that would read as a second name", "no plain");
    OPENSSL_free(pem);

    pem = forge(key, key, plain, 1);
    refuses_pem(pem, "two subjectAltName extensions", "not valid");
    OPENSSL_free(pem);

    pem = forge(key, key, plain, 0);
    size = 2 * strlen(pem) + 100;
    two = malloc(size);
    snprintf(two, size, "%s%s", pem, pem);
    refuses_pem(two, "two requests", "one request");
    snprintf(two, size, "%s", pem);
    memcpy(strstr(two, "-----\n") + 6, "AAAA", 4);
    refuses_pem(two, "no DER", "valid");
    refuses_pem((char *) "", "nothing", "no request");
    refuses_pem((char *) "-----BEGIN CERTIFICATE-----\nAAAA\n"
                "-----END CERTIFICATE-----\n", "a certificate", "is expected");

    /* each byte of the DER flipped: an error or a request, never a crash */
    for (size_t i = 30; i + 30 < strlen(pem); i++) {
        const char  *why;

        snprintf(two, size, "%s", pem);
        two[i] = two[i] == 'A' ? 'B' : 'A';
        X509_REQ_free(certctl_csr_from_pem(two, strlen(two), &why));
    }

    free(two);
    OPENSSL_free(pem);
    GENERAL_NAMES_free(plain);
    GENERAL_NAMES_free(comma);
    EVP_PKEY_free(weak);
    EVP_PKEY_free(other);
    EVP_PKEY_free(key);
}

int
main(void)
{
    const char  *why = NULL;
    EVP_PKEY    *weak = EVP_RSA_gen(1024);

    checks_names();
    counts_names();
    round_trip();
    judges_hashes();
    refuses_forgeries();

    ok(certctl_csr_build(weak, "DNS:a.example", false, &why) == NULL
       && strstr(why, "2048"), "no request for a weak key");
    EVP_PKEY_free(weak);
    is_int(ERR_peek_error(), 0, "nothing is left in the error queue");
    return done_testing();
}
