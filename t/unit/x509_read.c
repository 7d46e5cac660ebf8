/* x509_read: a certificate that is read quickly is the one that OpenSSL reads. */
#include "pki.h"
#include "tap.h"
#include "x509_read.h"
#include <pthread.h>

#define THREADS  4
#define ROUNDS   200

static struct pki  root;

static const struct {
    const char      *what;
    const char      *type;          /* of a key that pki.h has no word for */
    struct pki_spec  spec;
} certs[] = {
    { "P-256", NULL, { .cn = "a", .sans = "DNS:a.example" } },
    { "P-384", NULL, { .cn = "a", .curve = "P-384" } },
    { "P-521", NULL, { .cn = "a", .curve = "P-521" } },
    { "secp256k1", NULL, { .cn = "a", .curve = "secp256k1" } },
    { "RSA", NULL, { .cn = "a", .rsa_bits = 2048 } },
    { "Ed25519", "ED25519", { .cn = "a" } },
    { "RSA-PSS, which is left to OpenSSL", "RSA-PSS", { .cn = "a" } },
    { "X25519, too", "X25519", { .cn = "a" } },
    { "a CA", NULL, { .cn = "a", .ca = 1 } },
    { "extensions that contradict each other", NULL, { .cn = "a", .ext = {
        { NID_basic_constraints, "CA:TRUE" }, { NID_basic_constraints, "CA:FALSE" } } } },
};

#define CERTS  (sizeof(certs) / sizeof(certs[0]))

static EVP_PKEY *
key_of(const char *type)
{
    EVP_PKEY      *key = NULL;
    EVP_PKEY_CTX  *ctx = EVP_PKEY_CTX_new_from_name(NULL, type, NULL);

    PKI_MUST(ctx && EVP_PKEY_keygen_init(ctx) == 1 && EVP_PKEY_generate(ctx, &key) == 1);
    EVP_PKEY_CTX_free(ctx);
    return key;
}

static X509 *
read_all(const unsigned char *der, int len)
{
    X509                 *cert;
    const unsigned char  *p = der;

    cert = certctl_x509_read(&p, len);

    if (cert != NULL && p != der + len) {
        X509_free(cert);
        return NULL;
    }

    return cert;
}

static int
same_key(EVP_PKEY *a, EVP_PKEY *b)
{
    return a == NULL || b == NULL ? a == b
           : EVP_PKEY_get_base_id(a) == EVP_PKEY_get_base_id(b)
             && EVP_PKEY_eq(a, b) == 1;
}

static void
is_the_same(const struct pki *p, const unsigned char *der, int len, const char *what)
{
    X509                 *quick = read_all(der, len), *plain;
    unsigned char        *again = NULL, md[2][32];
    const unsigned char  *at = der;

    plain = d2i_X509(NULL, &at, len);
    ok(quick != NULL && plain != NULL, "%s: it is read", what);
    is_int(i2d_X509(quick, &again), len, "as long as it was");
    ok(memcmp(again, der, len) == 0, "octet by octet");
    ok(same_key(X509_get0_pubkey(quick), X509_get0_pubkey(plain)), "its key is the same");
    is_int(X509_check_private_key(quick, p->key), X509_check_private_key(plain, p->key),
           "and of the same private key");
    is_int(X509_verify(quick, root.key), 1, "its signature can be checked");
    ok(X509_digest(quick, EVP_sha256(), md[0], NULL)
       && X509_digest(plain, EVP_sha256(), md[1], NULL)
       && memcmp(md[0], md[1], 32) == 0, "and its digest taken");
    ok(X509_get_extension_flags(quick) == X509_get_extension_flags(plain),
       "its extensions say the same");
    OPENSSL_free(again);
    X509_free(quick);
    X509_free(plain);
}

/* What is cut off or changed is read by both or by none. */
static void
is_as_strict(const unsigned char *der, int len)
{
    int                   differ = 0, read = 0;
    X509                 *quick, *plain;
    unsigned char        *copy = OPENSSL_memdup(der, len);
    const unsigned char  *a, *b;

    for (int i = 0; i < 2 * len; i++) {
        int  n = i < len ? i : len;

        if (i >= len) {
            copy[i - len] ^= 1 << i % 8;
        }

        a = b = copy;
        quick = certctl_x509_read(&a, n);
        plain = d2i_X509(NULL, &b, n);
        read += quick != NULL;
        differ += (quick == NULL) != (plain == NULL) || (quick && a != b)
                  || (quick && !same_key(X509_get0_pubkey(quick),
                                         X509_get0_pubkey(plain)));
        ERR_clear_error();
        X509_free(quick);
        X509_free(plain);
        copy[i >= len ? i - len : 0] = der[i >= len ? i - len : 0];
    }

    ok(read > 0 && differ == 0, "cut off or changed: as OpenSSL reads it, %d times", read);
    OPENSSL_free(copy);
}

static unsigned char  *shared;
static int             shared_len;

static void *
reads(void *good)
{
    for (int i = 0; i < ROUNDS; i++) {
        X509  *cert = read_all(shared, shared_len);

        *(int *) good += cert != NULL && X509_verify(cert, root.key) == 1;
        X509_free(cert);
    }

    return NULL;
}

/* Before anything else has read one: the threads meet in the setting up. */
static void
from_threads(void)
{
    int         good[THREADS] = { 0 }, sum = 0;
    pthread_t   thread[THREADS];
    struct pki  p = PKI(&root, .cn = "a");

    shared_len = i2d_X509(p.cert, &shared);

    for (int i = 0; i < THREADS; i++) {
        PKI_MUST(pthread_create(&thread[i], NULL, reads, &good[i]) == 0);
    }

    for (int i = 0; i < THREADS; i++) {
        pthread_join(thread[i], NULL);
        sum += good[i];
    }

    is_int(sum, THREADS * ROUNDS, "threads read it at once");
    OPENSSL_free(shared);
    pki_free(&p);
}

int
main(void)
{
    root = PKI(NULL, .cn = "Root", .ca = 1);
    from_threads();

    for (size_t i = 0; i < CERTS; i++) {
        struct pki_spec   spec = certs[i].spec;
        unsigned char    *der = NULL;

        if (certs[i].type) {
            spec.key = key_of(certs[i].type);
        }

        struct pki  p = pki_make(&spec, &root);
        int         len = i2d_X509(p.cert, &der);

        is_the_same(&p, der, len, certs[i].what);
        is_as_strict(der, len);
        OPENSSL_free(der);
        pki_free(&p);

        if (certs[i].type) {
            EVP_PKEY_free(spec.key);
        }
    }

    is_int(ERR_peek_error(), 0, "nothing is left in OpenSSL's queue");
    pki_free(&root);
    return done_testing();
}
