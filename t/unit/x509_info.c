/* x509_info: what certificates say, friendly ones and those made to confuse. */
#include "pki.h"
#include "tap.h"
#include "wire.h"
#include "x509_info.h"
#include "x509_san.h"

struct list {
    char  text[4096];
    int   stop_after;
};

static bool
collect(const char *kind, const char *text, void *data)
{
    struct list  *list = data;
    size_t        n = strlen(list->text);

    snprintf(list->text + n, sizeof(list->text) - n, "%s%s:%s", n ? " " : "",
             kind, text);
    return --list->stop_after != 0;
}

static void
reads_fields(void)
{
    struct pki                ca = PKI(NULL, .cn = "Root", .ca = 1);
    struct pki                p;
    struct certctl_x509_info  info;
    char                      text[200];

    p = PKI(&ca, .cn = "shop.example", .sans = "DNS:shop.example",
            .from = -100, .to = 1000, .serial = 0xabc,
            .ext = { { NID_tlsfeature, "status_request" },
                     { NID_info_access, "OCSP;URI:http://ocsp.example/x,"
                                        "caIssuers;URI:http://ca.example/" } });

    ok(certctl_x509_info(p.cert, &info) == NULL, "a certificate is read");
    is_int(info.not_after - info.not_before, 1100, "its validity in seconds");
    is_str(info.serial, "0abc", "its serial number in hex");
    is_int(strlen(info.fingerprint), 64, "its fingerprint");
    is_int(strlen(info.spki), 64, "the digest of its key");
    ok(strcmp(info.fingerprint, info.spki) != 0, "which is another one");
    is_str(info.key_type, "ec-p256", "its key type by the wire's name");
    is_int(info.key_bits, 256, "and size");
    ok(!info.is_ca && !info.self_issued, "it is a leaf");
    ok(info.must_staple, "that must be stapled");

    certctl_x509_ocsp_url(p.cert, text, sizeof(text));
    is_str(text, "http://ocsp.example/x", "its OCSP responder");
    certctl_x509_ocsp_url(p.cert, text, 10);
    is_str(text, "", "which is not cut off");
    certctl_x509_common_name(p.cert, text, sizeof(text));
    is_str(text, "shop.example", "its common name");
    ok(certctl_x509_subject(p.cert, text, sizeof(text)), "subject fits");
    is_str(text, "CN=shop.example", "subject as RFC 4514 text");
    ok(certctl_x509_issuer(p.cert, text, sizeof(text)), "issuer fits");
    is_str(text, "CN=Root", "issuer");
    ok(!certctl_x509_issuer(p.cert, text, 7), "one byte short is no fit");

    ok(certctl_x509_info(ca.cert, &info) == NULL && info.is_ca
       && info.self_issued && !info.must_staple, "the root is a CA");
    certctl_x509_ocsp_url(ca.cert, text, sizeof(text));
    is_str(text, "", "the root names no responder");

    pki_free(&p);
    pki_free(&ca);
}

static void
lists_sans(void)
{
    struct pki   p = PKI(NULL, .sans = "DNS:A.example,DNS:*.b.example,"
                         "IP:192.0.2.1,IP:2001:DB8:0:0:0:0:0:1,"
                         "email:x@y.example,URI:urn:certctl:agent:ag-1,"
                         "RID:1.2.3.4");
    struct list  list = { "", 0 };

    is_int(certctl_x509_each_san(p.cert, collect, &list), 6,
           "six names of kinds we know, a registered id passed over");
    is_str(list.text, "DNS:A.example DNS:*.b.example IP:192.0.2.1"
           " IP:2001:db8::1 email:x@y.example URI:urn:certctl:agent:ag-1",
           "IPv6 as RFC 5952 writes it");

    list = (struct list) { "", 2 };
    is_int(certctl_x509_each_san(p.cert, collect, &list), 2,
           "stops when told to");

    ok(certctl_x509_has_uri(p.cert, "urn:certctl:agent:ag-1"), "URI is there");
    ok(!certctl_x509_has_uri(p.cert, "urn:certctl:agent:ag"), "no prefix");
    ok(!certctl_x509_has_uri(p.cert, "urn:certctl:agent:AG-1"), "exact");
    ok(!certctl_x509_has_uri(p.cert, "x@y.example"), "not another kind");
    pki_free(&p);

    p = PKI(NULL, .cn = "urn:certctl:controller");
    ok(!certctl_x509_has_uri(p.cert, "urn:certctl:controller"),
       "a common name is no URI SAN");
    list = (struct list) { "", 0 };
    is_int(certctl_x509_each_san(p.cert, collect, &list), 0, "no names at all");
    pki_free(&p);
}

static void
covers_hosts(void)
{
    static const struct {
        const char  *host;
        int          want;
        const char  *why;
    } rows[] = {
        { "shop.example.com",   1, "exact" },
        { "SHOP.example.COM",   1, "letter case" },
        { "a.example.net",      1, "wildcard" },
        { "*.example.net",      1, "the wildcard itself" },
        { "a.b.example.net",    0, "a wildcard is one label" },
        { "example.net",        0, "and not none" },
        { ".example.net",       0, "a leading dot is no host" },
        { "",                   0, "nothing" },
        { "wx.example.org",     0, "no partial wildcard" },
        { "192.0.2.1",          1, "IPv4" },
        { "192.0.2.2",          0, "another IPv4" },
        { "2001:db8::1",        1, "IPv6" },
        { "2001:DB8:0::1",      1, "IPv6 in other letters" },
        { "common.example.com", 0, "common names do not count" },
    };
    struct pki  p = PKI(NULL, .cn = "common.example.com",
                        .sans = "DNS:shop.example.com,DNS:*.example.net,"
                        "DNS:w*.example.org,IP:192.0.2.1,IP:2001:db8::1");

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        ok(certctl_x509_covers(p.cert, rows[i].host) == rows[i].want,
           "covers(\"%s\") is %d: %s", rows[i].host, rows[i].want, rows[i].why);
    }

    pki_free(&p);
}

/* RFC 5280 names are IA5String: bytes that no text should have are put in. */
static void
passes_over_bad_names(void)
{
    static const struct {
        const char  *bytes;
        int          len;
        const char  *why;
    } rows[] = {
        { "good.example\0.evil.example", 26, "embedded NUL" },
        { "a b",                          3, "a space" },
        { "a\nb",                         3, "a line feed, into our logs" },
        { "a\x1b[2J",                     5, "an escape, into terminals" },
        { "\xc3\xa4",                     2, "bytes above ASCII" },
        { "",                             0, "an empty name" },
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct pki       p = PKI(NULL, .cn = "x");
        GENERAL_NAMES   *names = GENERAL_NAMES_new();
        GENERAL_NAME    *gn = GENERAL_NAME_new();
        ASN1_IA5STRING  *text = ASN1_IA5STRING_new();
        struct list      list = { "", 0 };

        PKI_MUST(ASN1_STRING_set(text, rows[i].bytes, rows[i].len));
        GENERAL_NAME_set0_value(gn, GEN_DNS, text);
        sk_GENERAL_NAME_push(names, gn);
        PKI_MUST(X509_add1_ext_i2d(p.cert, NID_subject_alt_name, names, 0, 0)
                 && X509_sign(p.cert, p.key, EVP_sha256()));

        is_int(certctl_x509_each_san(p.cert, collect, &list), 0,
               "passed over: %s", rows[i].why);
        ok(!certctl_x509_covers(p.cert, "good.example"),
           "and covers nothing");

        GENERAL_NAMES_free(names);
        pki_free(&p);
    }
}

static void
bounds(void)
{
    struct pki                p = PKI(NULL, .cn = "x");
    struct certctl_x509_info  info = { .not_before = 7 };
    unsigned char             big[40];
    char                      text[8];

    memset(big, 0x5a, sizeof(big));
    PKI_MUST(ASN1_STRING_set(X509_get_serialNumber(p.cert), big, 32));
    ok(certctl_x509_info(p.cert, &info) != NULL, "a serial of 32 bytes is refused");
    is_int(info.not_before, 7, "and leaves the result alone");
    PKI_MUST(ASN1_STRING_set(X509_get_serialNumber(p.cert), big, 31));
    ok(certctl_x509_info(p.cert, &info) == NULL, "31 bytes are read");
    is_int(strlen(info.serial), 62, "in full");

    certctl_x509_common_name(p.cert, text, sizeof(text));
    is_str(text, "x", "a short common name");
    pki_free(&p);

    p = PKI(NULL, .cn = "12345678");
    certctl_x509_common_name(p.cert, text, sizeof(text));
    is_str(text, "", "one that does not fit is not cut off");
    pki_free(&p);
}

int
main(void)
{
    reads_fields();
    lists_sans();
    covers_hosts();
    passes_over_bad_names();
    bounds();
    is_int(ERR_peek_error(), 0, "nothing is left in the error queue");
    return done_testing();
}
