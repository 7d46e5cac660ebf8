/* x509_pem: PEM as people have it is read, and what is broken is named by its line. */
#include "pki.h"
#include "tap.h"
#include "x509_pem.h"
#include "x509_rule.h"

#define CERT(der)  "-----BEGIN CERTIFICATE-----\n" der "-----END CERTIFICATE-----\n"
#define KEY(der)   "-----BEGIN PRIVATE KEY-----\n" der "-----END PRIVATE KEY-----\n"

/* Each block of text as "label:hex of its DER" with blanks between them. */
static const char *
blocks_of(const char *text, size_t len, const char **why)
{
    static char               out[2048];
    int                       rc;
    size_t                    n = 0;
    struct certctl_pem        pem;
    struct certctl_pem_block  block;

    out[0] = '\0';
    certctl_pem_open(&pem, text, len);

    while ((rc = certctl_pem_next(&pem, &block, why)) == 1) {
        n += snprintf(out + n, sizeof(out) - n, "%s%s%s:", n ? " " : "", block.label,
                      block.encrypted ? " (encrypted)" : "");

        for (size_t i = 0; i < block.len; i++) {
            n += snprintf(out + n, sizeof(out) - n, "%02x", block.der[i]);
        }

        certctl_pem_free(&block);
    }

    return rc == 0 ? out : NULL;
}

static void
reads_what_people_have(void)
{
    static const struct { const char *what, *text, *blocks; } cases[] = {
        { "a block", CERT("AAEC\n"), "CERTIFICATE:000102" },
        { "one byte", CERT("AA==\n"), "CERTIFICATE:00" },
        { "two bytes", CERT("AAE=\n"), "CERTIFICATE:0001" },
        { "all of the alphabet", CERT("+/Az\n09aZ\n"), "CERTIFICATE:fbf033d3d699" },
        { "two blocks", CERT("AAEC\n") CERT("AwQF\n"), "CERTIFICATE:000102 CERTIFICATE:030405" },
        { "openssl pkcs12", "Bag Attributes\n    localKeyID: 01 02\nsubject=CN = a\n\nissuer=CN = b\n\n"
          CERT("AAEC\n") "Bag Attributes\n    localKeyID: 01 02\nKey Attributes: <No Attributes>\n"
          KEY("AwQF\n"), "CERTIFICATE:000102 PRIVATE KEY:030405" },
        { "openssl x509 -text", "Certificate:\n    Data:\n        Version: 3 (0x2)\n        ----- dashes\n"
          CERT("AAEC\n"), "CERTIFICATE:000102" },
        { "comments", "# -----BEGIN CERTIFICATE-----\n# AAAA\n# -----END CERTIFICATE-----\n" CERT("AAEC\n")
          "; end", "CERTIFICATE:000102" },
        { "a byte order mark", "\xef\xbb\xbf" CERT("AAEC\n") "\xef\xbb\xbf" CERT("AwQF\n"),
          "CERTIFICATE:000102 CERTIFICATE:030405" },
        { "CR LF", "text\r\n-----BEGIN CERTIFICATE-----\r\nAAEC\r\nAwQF\r\n-----END CERTIFICATE-----\r\n",
          "CERTIFICATE:000102030405" },
        { "CR", "-----BEGIN CERTIFICATE-----\rAAEC\r-----END CERTIFICATE-----\r", "CERTIFICATE:000102" },
        { "white space", " -----BEGIN CERTIFICATE----- \t\n\n  AA EC \t\n\n -----END CERTIFICATE----- ",
          "CERTIFICATE:000102" },
        { "no last line feed", "-----BEGIN CERTIFICATE-----\nAAEC\n-----END CERTIFICATE-----",
          "CERTIFICATE:000102" },
        { "a label with a hyphen", "-----BEGIN A-B-----\nAAEC\n-----END A-B-----\n", "A-B:000102" },
        { "letters beyond ASCII outside", "Aussteller: K\xc3\xb6ln \xff\n" CERT("AAEC\n"),
          "CERTIFICATE:000102" },
        { "a traditional encrypted key", "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n"
          "DEK-Info: AES-128-CBC,00FF\n\nAAEC\n-----END RSA PRIVATE KEY-----\n",
          "RSA PRIVATE KEY (encrypted):000102" },
        { "an encrypted PKCS#8 key", "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAEC\n"
          "-----END ENCRYPTED PRIVATE KEY-----\n", "ENCRYPTED PRIVATE KEY (encrypted):000102" },
        { "nothing", "", "" },
        { "text alone", "no PEM\nat all", "" },
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const char  *why = NULL, *got = blocks_of(cases[i].text, strlen(cases[i].text), &why);

        is_str(got ? got : why, cases[i].blocks, "%s", cases[i].what);
    }
}

static void
names_what_is_broken(void)
{
    static const struct { const char *what, *text, *rule; } cases[] = {
        { "no base64", "x\n" CERT("AAEC\n") "x\n" CERT("AAEC\nA*EC\n"),
          "PEM block 2 (CERTIFICATE): line 8 is not base64" },
        { "padding inside", CERT("AA==\nAAEC\n"), "PEM block 1 (CERTIFICATE): line 3 is not base64" },
        { "one sign of padding for two", CERT("AA=\n"), "line 2: the base64 text is not complete" },
        { "padding alone", CERT("====\n"), "line 2 is not base64" },
        { "three signs of padding", CERT("A===\n"), "line 2 is not base64" },
        { "a sign too few", CERT("AAEC\nAAE\n"), "line 3: the base64 text is not complete" },
        { "an empty block", CERT(""), "PEM block 1 (CERTIFICATE): line 1: the base64 text is not complete" },
        { "a NUL inside", CERT("AA\0C\n"), NULL },
        { "BEGIN without END", "x\n-----BEGIN CERTIFICATE-----\nAAEC\n",
          "PEM block 1 (CERTIFICATE): line 2 begins it, and no -----END CERTIFICATE----- follows" },
        { "BEGIN as the last thing", "-----BEGIN CERTIFICATE-----", "line 1 begins it, and no -----END" },
        { "a nested BEGIN", "-----BEGIN CERTIFICATE-----\nAAEC\n" CERT("AAEC\n"),
          "PEM block 1 (CERTIFICATE): line 3 begins another block before -----END CERTIFICATE-----" },
        { "END of another label", "-----BEGIN CERTIFICATE-----\nAAEC\n-----END PRIVATE KEY-----\n",
          "PEM block 1 (CERTIFICATE): line 3 must be -----END CERTIFICATE-----" },
        { "END with four dashes", "-----BEGIN CERTIFICATE-----\nAAEC\n-----END CERTIFICATE----\n",
          "line 3 must be -----END CERTIFICATE-----" },
        { "END with three dashes before it", "-----BEGIN CERTIFICATE-----\nAAEC\n---END CERTIFICATE-----\n",
          "line 3 is not base64" },
        { "END alone", "x\n-----END CERTIFICATE-----\n", "line 2 ends a PEM block that no line begins" },
        { "BEGIN behind other text", "x: " CERT("AAEC\n"), "line 3 ends a PEM block that no line begins" },
        { "BEGIN with four dashes", "-----BEGIN CERTIFICATE----\nAAEC\n",
          "line 1 is not a line -----BEGIN label-----" },
        { "all on one line", "-----BEGIN CERTIFICATE-----AAEC-----END CERTIFICATE-----\n", "line 1" },
        { "text behind BEGIN", "-----BEGIN CERTIFICATE----- AAEC\n-----END CERTIFICATE-----\n",
          "line 1 is not a line -----BEGIN label-----" },
        { "BEGIN and nothing", "-----BEGIN", "line 1 is not a line -----BEGIN label-----" },
        { "BEGIN without a label", "-----BEGIN-----\n", "line 1 is not a line -----BEGIN label-----" },
        { "headers that encrypt nothing", "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,CLEAR\n\nAAEC\n"
          "-----END RSA PRIVATE KEY-----\n", "line 2 is not base64" },
        { "headers of a certificate", CERT("Proc-Type: 4,ENCRYPTED\n\nAAEC\n"), "line 2 is not base64" },
        { "headers up to the end", "-----BEGIN EC PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n",
          "no -----END EC PRIVATE KEY----- follows" },
        { "headers up to END", "-----BEGIN EC PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: x\n"
          "-----END EC PRIVATE KEY-----\n", "not complete" },
        { "dashes in a header", "-----BEGIN EC PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED -----END\n"
          "AAECAwQFAAECAwQFAAECAwQFAAECAwQFAAECAwQFAAECAwQF\n-----END EC PRIVATE KEY-----\n",
          "line 2 is not base64" },
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const char  *why = NULL, *got;
        size_t       len = strlen(cases[i].text);

        if (cases[i].rule == NULL) {
            continue;
        }

        got = blocks_of(cases[i].text, len, &why);
        ok(got == NULL && why && strstr(why, cases[i].rule), "%s: %s", cases[i].what,
           why ? why : "taken, and no rule named");
    }

    {
        static const char  nul[] = CERT("AA\0C\n"), outside[] = "a\0b\n" CERT("AAEC\n");
        const char        *why = NULL;

        ok(blocks_of(nul, sizeof(nul) - 1, &why) == NULL && strstr(why, "line 2 is not base64"),
           "a NUL inside: %s", why ? why : "taken");
        ok(blocks_of(outside, sizeof(outside) - 1, &why) == NULL
           && strstr(why, "line 1 holds a NUL byte"), "a NUL outside: %s",
           why ? why : "taken");
    }
}

/* Who reads files of strangers goes on behind what is broken. */
static void
goes_on(void)
{
    static const char         text[] = "-----BEGIN CERTIFICATE-----\n*\n" CERT("AAEC\n")
                                       "-----END X-----\n" KEY("AA\n") CERT("AwQF\n");
    int                       rc, good = 0, bad = 0, keys = 0;
    const char               *why;
    struct certctl_pem        pem;
    struct certctl_pem_block  block;

    certctl_pem_open(&pem, text, sizeof(text) - 1);

    while ((rc = certctl_pem_next(&pem, &block, &why)) != 0) {
        good += rc == 1;
        bad += rc == -1;
        keys += certctl_pem_is_key(&block);
        certctl_pem_free(&block);
    }

    is_int(good, 2, "two whole blocks are found among broken ones");
    is_int(keys, 1, "a broken one has its label");
    ok(bad >= 3, "each broken one is told");
}

static void
bundle(const char *what, const char *text, int certs, int key, int staple, const char *rule)
{
    struct certctl_pem_bundle  got;
    const char                *why = certctl_pem_bundle(text, strlen(text), &got);

    if (rule) {
        ok(why && strstr(why, rule), "%s: %s", what, why ? why : "was taken");

    } else {
        ok(why == NULL && got.count == certs && !got.key.der == !key && !got.staple.der == !staple,
           "%s: %s", what, why ? why : "taken");
    }

    certctl_pem_bundle_free(&got);
}

static void
sorts(void)
{
    const char  *staple = "-----BEGIN OCSP RESPONSE-----\nAAEC\n-----END OCSP RESPONSE-----\n";
    char         text[4096];
    int          i, n;

    snprintf(text, sizeof(text), "%s%s%s%s", KEY("AAEC\n"), CERT("AAEC\n"), staple, CERT("AwQF\n"));
    bundle("all of them in any order", text, 2, 1, 1, NULL);
    bundle("the older label", "-----BEGIN X509 CERTIFICATE-----\nAAEC\n"
           "-----END X509 CERTIFICATE-----\n", 1, 0, 0, NULL);
    bundle("parameters", "-----BEGIN EC PARAMETERS-----\nAAEC\n-----END EC PARAMETERS-----\n"
           "-----BEGIN DH PARAMETERS-----\nAAEC\n-----END DH PARAMETERS-----\n" CERT("AAEC\n"),
           1, 0, 0, NULL);
    bundle("a key twice", KEY("AAEC\n") KEY("AAEC\n"), 0, 1, 0, NULL);
    bundle("two keys", KEY("AAEC\n") KEY("AwQF\n"), 0, 0, 0,
           "PEM block 2 (PRIVATE KEY), line 4: a second private key");
    snprintf(text, sizeof(text), "%s%s", staple, staple);
    bundle("two OCSP responses", text, 0, 0, 0, "line 4: there is more than one OCSP response");
    bundle("another block", CERT("AAEC\n")
           "-----BEGIN X509 CRL-----\nAAEC\n-----END X509 CRL-----\n", 0, 0, 0,
           "PEM block 2 (X509 CRL), line 4: only blocks CERTIFICATE");

    for (n = 0, i = 0; i < CERTCTL_CHAIN_DEPTH; i++) {
        n += snprintf(text + n, sizeof(text) - n, "%s", CERT("AAEC\n"));
    }

    bundle("as deep as allowed", text, CERTCTL_CHAIN_DEPTH, 0, 0, NULL);
    snprintf(text + n, sizeof(text) - n, "%s", CERT("AAEC\n"));
    bundle("one more", text, 0, 0, 0,
           "PEM block 11 (CERTIFICATE), line 31: a chain may hold at most 10");
}

/* Every cut and every flipped byte of a real text is a block, an end or a rule. */
static void
survives(void)
{
    struct pki                 p = PKI(NULL, .cn = "a");
    BIO                       *bio = BIO_new(BIO_s_mem());
    char                      *data, *copy;
    const char                *why;
    long                       len;
    int                        odd = 0;
    struct certctl_pem_bundle  got;

    PKI_MUST(PEM_write_bio_X509(bio, p.cert)
             && PEM_write_bio_PKCS8PrivateKey(bio, p.key, NULL, NULL, 0, NULL, NULL));
    len = BIO_get_mem_data(bio, &data);

    for (long i = 0; i < len; i++) {
        copy = malloc(i + 1);
        memcpy(copy, data, i);
        why = certctl_pem_bundle(copy, i, &got);
        odd += why == NULL && got.key.der != NULL && i < len - 1;
        certctl_pem_bundle_free(&got);
        free(copy);

        copy = malloc(len);
        memcpy(copy, data, len);
        copy[i] ^= 0x80;
        why = certctl_pem_bundle(copy, len, &got);
        odd += why == NULL && got.count == 1 && got.key.der != NULL;
        certctl_pem_bundle_free(&got);
        free(copy);
    }

    is_int(odd, 0, "what is cut off or damaged is never taken for whole");
    BIO_free(bio);
    pki_free(&p);
}

int
main(void)
{
    reads_what_people_have();
    names_what_is_broken();
    goes_on();
    sorts();
    survives();
    is_str(certctl_rule("%s again", certctl_rule("%s", "once")), "once again",
           "a rule within a rule");
    is_int(ERR_peek_error(), 0, "nothing is left in the error queue");
    return done_testing();
}
