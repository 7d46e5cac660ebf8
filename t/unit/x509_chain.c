/* x509_chain: which chains may be served, and every rule that refuses one. */
#include "pki.h"
#include "tap.h"
#include "wire.h"
#include "x509_chain.h"

static struct pki  root, middle, leaf;
static time_t      now;

static void
judge(STACK_OF(X509) *chain, EVP_PKEY *key, const char *rule, const char *what)
{
    const char  *why = certctl_chain_check(chain, key, now);

    ok(rule ? why && strstr(why, rule) : why == NULL, "%s: %s", what,
       why ? why : "may be served");
    sk_X509_free(chain);
}

/* A leaf of middle that differs in one thing. */
static void
judge_leaf(struct pki p, const char *rule, const char *what)
{
    judge(pki_chain(p.cert, middle.cert, NULL), p.key, rule, what);
    pki_free(&p);
}

static void
judges_leaves(void)
{
    judge_leaf(PKI(&middle, .sans = "DNS:a"), NULL, "a plain leaf");
    judge_leaf(PKI(&middle, .sans = "DNS:a", .curve = "P-384"), NULL, "P-384");
    judge_leaf(PKI(&middle, .sans = "DNS:a", .rsa_bits = 2048), NULL, "RSA");
    judge_leaf(PKI(&middle, .sans = "DNS:a", .ext = {
        { NID_ext_key_usage, "serverAuth,clientAuth" } }), NULL, "serverAuth");
    judge_leaf(PKI(&middle, .sans = "DNS:a", .ext = {
        { NID_ext_key_usage, "anyExtendedKeyUsage" } }), NULL, "any usage");
    judge_leaf(PKI(&middle, .sans = "DNS:a", .ext = {
        { NID_ext_key_usage, "clientAuth" } }), "lacks serverAuth",
        "clientAuth alone");
    judge_leaf(PKI(&middle, .sans = "DNS:a", .ext = {
        { NID_key_usage, "critical,keyCertSign" } }), "lacks digitalSignature",
        "a key usage without TLS");
    judge_leaf(PKI(&middle, .sans = "DNS:a", .rsa_bits = 2048, .ext = {
        { NID_key_usage, "critical,keyEncipherment" } }), NULL,
        "RSA that only decrypts");
    judge_leaf(PKI(&middle, .sans = "DNS:a", .rsa_bits = 2048, .ext = {
        { NID_key_usage, "critical,keyAgreement" } }), "nor keyEncipherment",
        "RSA for key agreement");
    judge_leaf(PKI(&middle, .sans = "DNS:a", .ca = 1), "no CA", "a CA as leaf");
    judge_leaf(PKI(&middle, .sans = "DNS:a", .from = -2 * DAY, .to = -60),
        "certificate 1 of the chain: it has expired at ", "an expired leaf");
    judge_leaf(PKI(&middle, .sans = "DNS:a", .from = 60, .to = DAY),
        "not yet valid", "a leaf of tomorrow");
    judge_leaf(PKI(&middle, .sans = "DNS:a", .rsa_bits = 1024), "2048",
        "a weak RSA key");
    judge_leaf(PKI(&middle, .sans = "DNS:a", .curve = "secp256k1"), "curve",
        "a curve that no browser knows");
    judge_leaf(PKI(&middle, .sans = "DNS:a", .md = EVP_sha1()), "weak",
        "signed over SHA-1");
    judge_leaf(PKI(&middle, .sans = "DNS:a", .ext = {
        { NID_sinfo_access, "critical,1.2.3.4;URI:http://a/" } }),
        "no client knows", "an unknown critical extension");
    judge_leaf(PKI(&root, .sans = "DNS:a"), "not issued by", "of another CA");
}

static void
judges_order(void)
{
    struct pki  twin = PKI(&root, .cn = "Middle", .ca = 1);
    struct pki  none = PKI(&root, .cn = "No CA");
    struct pki  under = PKI(&none, .sans = "DNS:a");
    struct pki  old = PKI(&root, .cn = "Old", .ca = 1, .from = -90, .to = -60);
    struct pki  of_old = PKI(&old, .sans = "DNS:a");
    struct pki  self = PKI(NULL, .cn = "self", .sans = "DNS:a");
    struct pki  short0, short1, of_short;

    judge(pki_chain(leaf.cert, NULL, NULL), leaf.key, NULL, "a leaf alone");
    judge(pki_chain(self.cert, NULL, NULL), self.key, NULL, "a self-signed one");
    judge(pki_chain(leaf.cert, middle.cert, root.cert), leaf.key, NULL,
          "leaf, intermediate, root");
    judge(pki_chain(leaf.cert, middle.cert, NULL), NULL, NULL, "without a key");
    judge(pki_chain(leaf.cert, middle.cert, NULL), middle.key, "private key",
          "with another key");
    judge(pki_chain(leaf.cert, root.cert, middle.cert), NULL, "not issued by",
          "the wrong order");
    judge(pki_chain(leaf.cert, leaf.cert, NULL), NULL, "no CA", "a leaf twice");
    judge(pki_chain(leaf.cert, twin.cert, NULL), NULL, "not",
          "a CA of the same name with another key");
    judge(pki_chain(middle.cert, root.cert, NULL), NULL, "no CA",
          "without its leaf");
    judge(pki_chain(under.cert, none.cert, NULL), NULL, "no CA",
          "issued by what is no CA");
    judge(pki_chain(of_old.cert, old.cert, NULL), NULL,
          "certificate 2 of the chain (CN=Old): it has expired at ", "below an expired CA");
    judge(sk_X509_new_null(), NULL, "no certificate", "nothing");

    short0 = PKI(&root, .cn = "Short", .ext = {
        { NID_basic_constraints, "critical,CA:TRUE,pathlen:0" } });
    short1 = PKI(&short0, .cn = "Below", .ca = 1);
    of_short = PKI(&short1, .sans = "DNS:a");
    judge(pki_chain(of_short.cert, short1.cert, short0.cert), NULL,
          "pathLenConstraint", "longer than a CA allows");

    pki_free(&twin);
    pki_free(&none);
    pki_free(&under);
    pki_free(&old);
    pki_free(&of_old);
    pki_free(&self);
    pki_free(&short0);
    pki_free(&short1);
    pki_free(&of_short);
}

static void
refuses_pem(const char *pem, size_t len, const char *rule, const char *what)
{
    const char       *why = NULL;
    STACK_OF(X509)   *chain = certctl_chain_from_pem(pem, len, &why);

    ok(chain == NULL && why && strstr(why, rule), "%s: %s", what,
       why ? why : "was accepted");
    sk_X509_pop_free(chain, X509_free);
}

#define TEXT  (CERTCTL_CHAIN_MAX + 8192)

static void
reads_pem(void)
{
    STACK_OF(X509)  *chain = pki_chain(leaf.cert, middle.cert, root.cert), *got;
    char            *pem = certctl_chain_to_pem(chain);
    char            *text = malloc(TEXT);
    const char      *why;
    size_t           n = 0, one;

    got = certctl_chain_from_pem(pem, strlen(pem), &why);
    is_int(sk_X509_num(got), 3, "three certificates through PEM");
    ok(X509_cmp(sk_X509_value(got, 2), root.cert) == 0, "in their order");
    sk_X509_pop_free(got, X509_free);

    got = certctl_chain_from_pem(pem, strlen(pem) - 1, &why);
    is_int(sk_X509_num(got), 3, "without the last line feed");
    sk_X509_pop_free(got, X509_free);

    refuses_pem("", 0, "no certificate", "nothing");
    refuses_pem(pem, strlen(pem) / 2, "END", "half of it");
    snprintf(text, TEXT, "subject=x\n%s", pem);
    got = certctl_chain_from_pem(text, strlen(text), &why);
    is_int(sk_X509_num(got), 3, "openssl's own comments before it");
    sk_X509_pop_free(got, X509_free);
    snprintf(text, TEXT, "%s%s", pem, "-----BEGIN PRIVATE KEY-----\nAAAA\n"
            "-----END PRIVATE KEY-----\n");
    refuses_pem(text, strlen(text), "only certificates are expected", "a key among them");
    snprintf(text, TEXT, "-----BEGIN CERTIFICATE-----\nAAAA\n"
             "-----END CERTIFICATE-----\n");
    refuses_pem(text, strlen(text), "DER", "no DER");
    refuses_pem(pem, strlen(pem) + 1, "NUL byte", "a NUL behind it");
    snprintf(text, TEXT, "-----BEGIN CERTIFICATE-----\nProc-Type: 4,ENCRYPTED\n\n%s",
            pem + 28);
    refuses_pem(text, strlen(text), "line 2 is not base64", "headers inside a block");

    /* the first certificate over and over */
    one = strstr(pem, "-----END CERTIFICATE-----\n") + 26 - pem;
    for (int i = 0; i < CERTCTL_CHAIN_DEPTH; i++) {
        memcpy(text + n, pem, one);
        n += one;
    }
    got = certctl_chain_from_pem(text, n, &why);
    is_int(sk_X509_num(got), CERTCTL_CHAIN_DEPTH, "as deep as allowed");
    sk_X509_pop_free(got, X509_free);
    memcpy(text + n, pem, one);
    refuses_pem(text, n + one, "at most 10", "one more");
    memset(text, '\n', CERTCTL_CHAIN_MAX + 1);
    refuses_pem(text, CERTCTL_CHAIN_MAX + 1, "longer", "more than fits");

    OPENSSL_free(pem);
    free(text);
    sk_X509_free(chain);
}

static void
reads_der(void)
{
    unsigned char   *der = NULL, *both;
    int              n = i2d_X509(leaf.cert, &der), m;
    const char      *why;
    STACK_OF(X509)  *got;
    unsigned char   *p;
    int              crashed = 0;

    m = i2d_X509(middle.cert, NULL);
    both = malloc(n + m);
    memcpy(both, der, n);
    p = both + n;
    i2d_X509(middle.cert, &p);

    got = certctl_chain_from_der(both, n + m, &why);
    is_int(sk_X509_num(got), 2, "two certificates through DER");
    sk_X509_pop_free(got, X509_free);

    /* cut off or flipped anywhere: an error or a chain, never a crash */
    for (int i = 0; i < n + m; i++) {
        got = certctl_chain_from_der(both, i, &why);
        crashed += (got != NULL) != (i == n);
        sk_X509_pop_free(got, X509_free);
    }
    is_int(crashed, 0, "cut off at every byte: refused but between the two");

    for (int i = 0; i < n + m; i++) {
        both[i] ^= 0x11;
        got = certctl_chain_from_der(both, n + m, &why);
        if (got) {
            (void) certctl_chain_check(got, leaf.key, now);
            (void) certctl_chain_names_equal(got, "DNS:a.example");
        }
        sk_X509_pop_free(got, X509_free);
        both[i] ^= 0x11;
    }
    ok(1, "flipped at every byte");

    free(both);
    OPENSSL_free(der);
}

/* One bit of a signature: everything else is as it should be. */
static void
finds_forged_signatures(void)
{
    unsigned char        *der = NULL;
    const unsigned char  *p;
    int                   n = i2d_X509(leaf.cert, &der);
    X509                 *forged;

    der[n - 1] ^= 1;
    p = der;
    forged = d2i_X509(NULL, &p, n);
    PKI_MUST(forged != NULL);
    judge(pki_chain(forged, middle.cert, NULL), leaf.key, "not signed by",
          "a flipped bit in the signature");
    X509_free(forged);
    OPENSSL_free(der);
}

static void
compares_names(void)
{
    static const struct {
        const char  *sans;
        const char  *rule;
    } rows[] = {
        { "DNS:a.example,DNS:*.b.example,IP:2001:db8::1,URI:urn:x:Y", NULL },
        { "URI:urn:x:Y,IP:2001:DB8::0:1,DNS:*.B.EXAMPLE,DNS:A.example", NULL },
        { "DNS:a.example,DNS:a.example,DNS:*.b.example,IP:2001:db8::1,"
          "URI:urn:x:Y", NULL },
        { "DNS:a.example,DNS:*.b.example,IP:2001:db8::1", "not asked for" },
        { "DNS:a.example,DNS:*.b.example,IP:2001:db8::1,URI:urn:x:y", "lacks" },
        { "DNS:a.example,DNS:*.b.example,IP:2001:db8::1,URI:urn:x:Y,DNS:c",
          "lacks" },
        { "bad", "names are written" },
    };
    struct pki       p = PKI(NULL, .sans = "DNS:a.example,DNS:*.b.example,"
                             "IP:2001:db8::1,URI:urn:x:Y");
    struct pki       q = PKI(NULL, .sans = "DNS:a.example,RID:1.2.3.4");
    struct pki       none = PKI(NULL, .cn = "a.example");
    STACK_OF(X509)  *chain = pki_chain(p.cert, NULL, NULL);
    const char      *why;

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        why = certctl_chain_names_equal(chain, rows[i].sans);
        ok(rows[i].rule ? why && strstr(why, rows[i].rule) : why == NULL,
           "\"%s\": %s", rows[i].sans, why ? why : "equal");
    }
    sk_X509_free(chain);

    chain = pki_chain(q.cert, NULL, NULL);
    why = certctl_chain_names_equal(chain, "DNS:a.example");
    ok(why && strstr(why, "not asked for"),
       "a name of a kind that we cannot even write");
    sk_X509_free(chain);

    chain = pki_chain(none.cert, NULL, NULL);
    why = certctl_chain_names_equal(chain, "DNS:a.example");
    ok(why && strstr(why, "lacks"), "a common name is no SAN");
    sk_X509_free(chain);

    pki_free(&p);
    pki_free(&q);
    pki_free(&none);
}

int
main(void)
{
    now = time(NULL);
    root = PKI(NULL, .cn = "Root", .ca = 1);
    middle = PKI(&root, .cn = "Middle", .ca = 1);
    leaf = PKI(&middle, .sans = "DNS:a.example");

    judges_leaves();
    judges_order();
    reads_pem();
    reads_der();
    finds_forged_signatures();
    compares_names();
    is_int(ERR_peek_error(), 0, "nothing is left in the error queue");

    pki_free(&leaf);
    pki_free(&middle);
    pki_free(&root);
    return done_testing();
}
