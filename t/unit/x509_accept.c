/* x509_accept: what the quick way says yes to, the thorough one does, too. */
#include "pki.h"
#include "tap.h"
#include "x509_accept.h"
#include "x509_shape.h"

#define CRL_URL  "URI:http://crl.example/a.crl"
#define POLICY   "DER:30:0a:30:08:06:06:67:81:0c:01:02:01"   /* domain-validated */

static struct pki  root, middle, rsa, other;
static time_t      now;

static const struct {
    const char      *what;
    int              quick;         /* the shape is usual */
    struct pki_spec  spec;
} leaves[] = {
    { "a name", 1, { .cn = "a", .sans = "DNS:a.example" } },
    { "no name", 1, { .cn = "a", .ext = {
        { NID_key_usage, "critical,digitalSignature" } } } },
    { "many names and an empty subject", 1, { .sans =
        "critical,DNS:a.example,DNS:*.a.example,IP:192.0.2.1,IP:2001:db8::1,URI:urn:x" } },
    { "P-384", 1, { .cn = "a", .sans = "DNS:a", .curve = "P-384" } },
    { "RSA", 1, { .cn = "a", .sans = "DNS:a", .rsa_bits = 2048 } },
    { "P-521", 0, { .cn = "a", .sans = "DNS:a", .curve = "P-521" } },
    { "as public CAs issue", 1, { .cn = "a", .sans = "DNS:a", .ext = {
        { NID_ext_key_usage, "serverAuth,clientAuth" },
        { NID_info_access, "OCSP;URI:http://o.example,caIssuers;URI:http://i.example" },
        { NID_certificate_policies, POLICY },
        { NID_crl_distribution_points, CRL_URL } } } },
    { "must-staple", 1, { .cn = "a", .sans = "DNS:a", .ext = {
        { NID_tlsfeature, "status_request" },
        { NID_basic_constraints, "critical,CA:FALSE" },
        { NID_subject_key_identifier, "hash" },
        { NID_authority_key_identifier, "keyid" } } } },
    { "keyid and issuer", 0, { .cn = "a", .sans = "DNS:a", .ext = {
        { NID_authority_key_identifier, "keyid,issuer:always" } } } },
    { "any purpose", 0, { .cn = "a", .sans = "DNS:a", .ext = {
        { NID_ext_key_usage, "anyExtendedKeyUsage" } } } },
    { "an extension that few have", 0, { .cn = "a", .sans = "DNS:a", .ext = {
        { NID_issuer_alt_name, "DNS:i.example" } } } },
    { "nine bits of key usage", 1, { .cn = "a", .sans = "DNS:a", .ext = {
        { NID_key_usage, "digitalSignature,keyAgreement,decipherOnly" } } } },
    { "RSA that only decrypts", 0, { .cn = "a", .sans = "DNS:a",
        .rsa_bits = 2048, .ext = {
        { NID_key_usage, "keyEncipherment" } } } },
    { "signed over SHA-384", 1, { .cn = "a", .sans = "DNS:a", .md = NULL } },
};

#define LEAVES  (sizeof(leaves) / sizeof(leaves[0]))

static const struct {
    const char      *rule;
    struct pki_spec  spec;
} refused[] = {
    { "expired", { .sans = "DNS:a", .from = -2 * DAY, .to = -60 } },
    { "not yet valid", { .sans = "DNS:a", .from = 60, .to = DAY } },
    { "no CA", { .cn = "a", .ca = 1 } },
    { "RFC 8446 4.4.2.2", { .sans = "DNS:a", .ext = {
        { NID_key_usage, "critical,keyCertSign" } } } },
    { "RFC 8422 5.3", { .sans = "DNS:a", .ext = {
        { NID_key_usage, "critical,keyEncipherment,keyAgreement" } } } },
    { "nor keyEncipherment", { .sans = "DNS:a", .rsa_bits = 2048, .ext = {
        { NID_key_usage, "critical,keyAgreement" } } } },
    { "lacks serverAuth", { .sans = "DNS:a", .ext = {
        { NID_ext_key_usage, "clientAuth" } } } },
    { "no client knows", { .sans = "DNS:a", .ext = {
        { NID_sinfo_access, "critical,1.2.3.4;URI:http://a/" } } } },
    { "2048", { .sans = "DNS:a", .rsa_bits = 1024 } },
    { "curve", { .sans = "DNS:a", .curve = "secp256k1" } },
};

#define REFUSED  (sizeof(refused) / sizeof(refused[0]))

static int
usual(X509 *cert)
{
    int             len, is;
    struct shape    shape;
    unsigned char  *der;

    len = pki_der(cert, &der);
    is = certctl_shape_read(der, len, &shape);
    OPENSSL_free(der);
    return is;
}

/* The PEM of DER certificates, one behind the other. */
static char *
pem_of(const unsigned char *leaf, long len, X509 *ca, int *pem_len)
{
    BIO   *bio = BIO_new(BIO_s_mem());
    char  *text, *copy;
    long   n;

    PKI_MUST(PEM_write_bio(bio, "CERTIFICATE", "", leaf, len) > 0
             && (ca == NULL || PEM_write_bio_X509(bio, ca)));
    n = BIO_get_mem_data(bio, &text);
    copy = malloc(n);
    memcpy(copy, text, n);
    *pem_len = (int) n;
    BIO_free(bio);
    return copy;
}

static const char *
accept_text(const char *pem, size_t len, EVP_PKEY *key, time_t at,
    struct certctl_accepted *ret)
{
    const char                 *why;
    struct certctl_pem_bundle   bundle;

    why = certctl_pem_bundle(pem, len, &bundle);

    if (why == NULL) {
        why = certctl_chain_accept(&bundle, NULL, key, at, ret);

    } else {
        memset(ret, 0, sizeof(*ret));
    }

    certctl_pem_bundle_free(&bundle);
    return why;
}

static const char *
accept_of(X509 *leaf, X509 *ca, EVP_PKEY *key, struct certctl_accepted *ret)
{
    int             len, n;
    char           *pem;
    const char     *why;
    unsigned char  *der;

    n = pki_der(leaf, &der);
    pem = pem_of(der, n, ca, &len);
    why = accept_text(pem, len, key, now, ret);
    free(pem);
    OPENSSL_free(der);
    return why;
}

/* What is known of a certificate, however it was found. */
static int
same_facts(X509 *cert, const struct certctl_leaf *leaf)
{
    int                   i, same;
    struct certctl_leaf   of;

    PKI_MUST(certctl_leaf_of(cert, &of) == NULL);
    same = memcmp(of.digest, leaf->digest, 32) == 0 && memcmp(of.spki, leaf->spki, 32) == 0
           && of.rsa == leaf->rsa && of.not_after == leaf->not_after
           && sk_GENERAL_NAME_num(of.names) == sk_GENERAL_NAME_num(leaf->names);

    for (i = 0; same && i < sk_GENERAL_NAME_num(of.names); i++) {
        same = GENERAL_NAME_cmp(sk_GENERAL_NAME_value(of.names, i),
                                sk_GENERAL_NAME_value(leaf->names, i)) == 0;
    }

    certctl_leaf_free(&of);
    return same;
}

static void
accepts(void)
{
    int                       len;
    struct pki                p, *ca;
    unsigned char            *der;
    const unsigned char      *at;
    struct certctl_leaf       leaf;
    struct certctl_accepted   got;

    for (size_t n = 0; n < 2 * LEAVES; n++) {
        struct pki_spec  spec = leaves[n / 2].spec;

        ca = n % 2 ? &rsa : &middle;
        spec.md = n / 2 == LEAVES - 1 ? EVP_sha384() : NULL;
        p = pki_make(&spec, ca);
        is_int(usual(p.cert), leaves[n / 2].quick, "%s: usual, or not", leaves[n / 2].what);
        ok(accept_of(p.cert, ca->cert, n % 4 ? p.key : NULL, &got) == NULL, "accepted");
        ok(same_facts(p.cert, &got.leaf), "and known as OpenSSL knows it");

        at = got.der;
        X509  *first = d2i_X509(NULL, &at, got.leaf_len);
        ok(first && X509_cmp(first, p.cert) == 0 && at == got.der + got.leaf_len
           && sk_X509_num(got.cas) == 1, "leaf and CA, one behind the other");
        X509_free(first);
        certctl_accepted_free(&got);

        len = pki_der(p.cert, &der);
        ok(certctl_leaf_read(der, len, &leaf) == NULL && same_facts(p.cert, &leaf),
           "read alone it is the same");
        certctl_leaf_free(&leaf);
        OPENSSL_free(der);
        pki_free(&p);
    }
}

static void
refuses_one(struct pki p, const struct pki *ca, EVP_PKEY *key, const char *rule)
{
    const char               *why;
    struct certctl_accepted   got;

    why = accept_of(p.cert, ca->cert, key, &got);
    ok(why && strstr(why, rule), "%s", why ? why : "accepted");
    ok(got.der == NULL && got.cas == NULL && got.leaf.names == NULL, "nothing is left of it");
    pki_free(&p);
}

static void
refuses(void)
{
    struct pki  twin = PKI(&root, .cn = "Middle", .ca = 1, .ext = {
                    { NID_subject_key_identifier, "hash" } });
    struct pki  no_sign = PKI(&root, .cn = "Middle", .key = middle.key, .ext = {
                    { NID_basic_constraints, "critical,CA:TRUE" },
                    { NID_key_usage, "critical,cRLSign" } });
    struct pki  old = PKI(&root, .cn = "Middle", .key = middle.key, .ca = 1,
                    .from = -90, .to = -60);
    struct pki  named = PKI(&middle, .sans = "DNS:a", .ext = {
                    { NID_authority_key_identifier, "keyid" } });

    for (size_t n = 0; n < REFUSED; n++) {
        refuses_one(pki_make(&refused[n].spec, &middle), &middle, NULL, refused[n].rule);
    }

    refuses_one(PKI(&middle, .sans = "DNS:a"), &root, NULL, "not issued by");
    refuses_one(PKI(&middle, .sans = "DNS:a"), &twin, NULL, "not");
    refuses_one(PKI(&middle, .sans = "DNS:a"), &old, NULL, "expired");
    refuses_one(PKI(&middle, .sans = "DNS:a"), &no_sign, NULL, "no CA");
    refuses_one(PKI(&middle, .sans = "DNS:a"), &middle, other.key, "private key");
    refuses_one(PKI(&middle, .sans = "DNS:a", .rsa_bits = 2048), &middle, other.key, "private key");
    refuses_one(PKI(&middle, .sans = "DNS:a", .rsa_bits = 2048), &middle, rsa.key, "private key");
    refuses_one(PKI(&middle, .sans = "DNS:a", .md = EVP_sha1()), &middle, NULL, "weak");
    refuses_one(named, &twin, NULL, "not issued by");

    pki_free(&twin);
    pki_free(&no_sign);
    pki_free(&old);
}

/* Length of the header of a SEQUENCE. */
static int
header(const unsigned char *p)
{
    return p[1] < 0x80 ? 2 : 2 + (p[1] & 0x7f);
}

static int
put_header(unsigned char *p, int tag, int len)
{
    p[0] = (unsigned char) tag;
    p[1] = 0x82;
    p[2] = (unsigned char) (len >> 8);
    p[3] = (unsigned char) len;
    return 4;
}

/* A certificate of tbs, signed by ca's key with cert's own algorithm; its length. */
static int
signed_again(const unsigned char *tbs, int tbs_len, X509 *cert, const struct pki *ca,
    unsigned char *out)
{
    int                n;
    size_t             len = 600;
    EVP_MD_CTX        *ctx = EVP_MD_CTX_new();
    unsigned char      sig[600], *alg = NULL;
    const X509_ALGOR  *algor;

    X509_get0_signature(NULL, &algor, cert);
    n = i2d_X509_ALGOR(algor, &alg);
    PKI_MUST(n > 0 && EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, ca->key)
             && EVP_DigestSign(ctx, sig, &len, tbs, tbs_len));

    unsigned char  *p = out + 4;

    memcpy(p, tbs, tbs_len);
    p += tbs_len;
    memcpy(p, alg, n);
    p += n;
    *p++ = 3;

    if (len + 1 >= 256) {
        *p++ = 0x82;
        *p++ = (unsigned char) ((len + 1) >> 8);
    } else if (len + 1 >= 128) {
        *p++ = 0x81;
    }

    *p++ = (unsigned char) (len + 1);
    *p++ = 0;
    memcpy(p, sig, len);
    p += len;
    put_header(out, 0x30, (int) (p - out - 4));
    EVP_MD_CTX_free(ctx);
    OPENSSL_free(alg);
    return (int) (p - out);
}

static struct {
    int  looked, quick, wrong, other;
} seen;

/* The quick yes to a changed leaf is what the thorough judge says of it. */
static void
compare(const unsigned char *der, int len, struct pki *leaf, const struct pki *ca, int with_key)
{
    int                       n;
    char                     *pem;
    X509                     *cert;
    const char               *why, *thorough;
    struct shape              shape;
    STACK_OF(X509)           *chain;
    const unsigned char      *at = der;
    struct certctl_accepted   got;

    seen.looked++;

    if (!certctl_shape_read(der, len, &shape)) {
        return;
    }

    pem = pem_of(der, len, ca->cert, &n);
    why = accept_text(pem, n, with_key ? leaf->key : NULL, now, &got);
    free(pem);
    cert = d2i_X509(NULL, &at, len);

    if (why == NULL) {
        seen.quick++;
        chain = cert ? pki_chain(cert, ca->cert, NULL) : NULL;
        thorough = chain ? certctl_chain_check(chain, with_key ? leaf->key : NULL, now)
                         : "not read at all";
        seen.wrong += thorough != NULL;
        seen.other += thorough == NULL && !same_facts(cert, &got.leaf);

        if (thorough) {
            printf("# accepted, but %s\n", thorough);
        }

        sk_X509_free(chain);
        certctl_accepted_free(&got);
    }

    X509_free(cert);
    ERR_clear_error();
}

static void
changed(struct pki leaf, const struct pki *ca, int every, const char *what)
{
    int             len, from, tbs_len, n;
    struct shape    shape;
    unsigned char  *der, tbs[4096], out[8192];

    len = pki_der(leaf.cert, &der);
    PKI_MUST(certctl_shape_read(der, len, &shape));
    from = header(der);
    tbs_len = (int) der_left(&shape.tbs);
    memcpy(tbs, der + from, tbs_len);
    memset(&seen, 0, sizeof(seen));

    for (int bit = 0; bit < tbs_len * 8; bit += every) {
        tbs[bit / 8] ^= 1 << bit % 8;
        n = signed_again(tbs, tbs_len, leaf.cert, ca, out);
        compare(out, n, &leaf, ca, 1);

        /* whether that is a point of the curve is somebody else's to say */
        if (der + from + bit / 8 < shape.spki.p || der + from + bit / 8 >= shape.spki.end) {
            compare(out, n, &leaf, ca, 0);
        }

        tbs[bit / 8] ^= 1 << bit % 8;
    }

    ok(seen.quick > seen.looked / 40, "%s: %d of %d changed leaves are accepted quickly",
       what, seen.quick, seen.looked);
    is_int(seen.wrong, 0, "none that the thorough judge refuses");
    is_int(seen.other, 0, "none that is known as another");
    OPENSSL_free(der);
    pki_free(&leaf);
}

/* Signatures of nobody. */
static void
forged(void)
{
    int                       len, n, bad = 0;
    char                     *pem;
    struct pki                p = PKI(&middle, .sans = "DNS:a");
    unsigned char            *der;
    struct certctl_accepted   got;

    len = pki_der(p.cert, &der);

    for (int i = 0; i < len; i += 3) {
        der[i] ^= 0x40;
        pem = pem_of(der, len, middle.cert, &n);

        if (accept_text(pem, n, p.key, now, &got) == NULL) {
            bad++;
            certctl_accepted_free(&got);
        }

        free(pem);
        der[i] ^= 0x40;
    }

    is_int(bad, 0, "no octet may be another than the CA signed");
    OPENSSL_free(der);
    pki_free(&p);
}

int
main(void)
{
    now = time(NULL);
    root = PKI(NULL, .cn = "Root", .ca = 1);
    middle = PKI(&root, .cn = "Middle", .ca = 1, .ext = {
        { NID_subject_key_identifier, "hash" } });
    rsa = PKI(&root, .cn = "RSA", .ca = 1, .rsa_bits = 2048, .ext = {
        { NID_subject_key_identifier, "hash" } });
    other = PKI(&root, .cn = "Other");

    accepts();
    refuses();
    forged();

    changed(PKI(&middle, .cn = "a.example", .sans = "DNS:a.example,IP:192.0.2.1", .ext = {
        { NID_key_usage, "critical,digitalSignature" },
        { NID_ext_key_usage, "serverAuth,clientAuth" },
        { NID_authority_key_identifier, "keyid" },
        { NID_crl_distribution_points, CRL_URL } }), &middle, 1, "ECDSA");
    changed(PKI(&middle, .sans = "critical,DNS:a.example", .ext = {
        { NID_basic_constraints, "critical,CA:FALSE" },
        { NID_tlsfeature, "status_request" },
        { NID_info_access, "OCSP;URI:http://o.example" },
        { NID_certificate_policies, POLICY } }), &middle, 3, "must-staple");
    changed(PKI(&rsa, .cn = "a", .sans = "DNS:a", .rsa_bits = 2048), &rsa, 7, "RSA");

    pki_free(&root);
    pki_free(&middle);
    pki_free(&rsa);
    pki_free(&other);

    return done_testing();
}
