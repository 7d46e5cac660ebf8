/*
 * OpenSSL 3.0 and 3.1 set a decoder up for the public key of each certificate that
 * is read, and ask everything that can decode anything whether it is of use: that
 * takes four times as long as all the rest, and its growing lists leave the C
 * library with pieces of memory that nobody asks for again. So there is a library
 * context with one provider of ours: the default one, without the decoders but
 * three and their keys. Later versions keep what they have set up.
 */
#include "x509_read.h"
#include <openssl/core_dispatch.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/provider.h>
#include <limits.h>
#include <stdbool.h>
#include <string.h>

#if OPENSSL_VERSION_NUMBER < 0x30200000L

#define PROVIDER  "certctl-few"

static const char *const  types[] = { "EC", "RSA", "ED25519" };

#define TYPES  (sizeof(types) / sizeof(types[0]))

static CRYPTO_ONCE     once = CRYPTO_ONCE_STATIC_INIT;
static OSSL_LIB_CTX   *few;                 /* NULL: there is none */
static OSSL_PROVIDER  *all;
static OSSL_ALGORITHM  keys[TYPES + 1];
static OSSL_ALGORITHM  decoders[TYPES + 1];


/* Whether one of an algorithm's names ("EC:id-ecPublicKey:...") is of types. */
static bool
wanted(const char *names)
{
    size_t  i, len, n = strcspn(names, ":");

    for (i = 0; i < TYPES; i++) {
        len = strlen(types[i]);

        if (len == n && memcmp(names, types[i], n) == 0) {
            return true;
        }
    }

    return false;
}


static void
pick(int operation, const char *input, const char *structure,
    OSSL_ALGORITHM *ret)
{
    int                    no_cache;
    size_t                 n = 0;
    const OSSL_ALGORITHM  *a;

    a = OSSL_PROVIDER_query_operation(all, operation, &no_cache);

    for ( ; a != NULL && a->algorithm_names != NULL && n < TYPES; a++) {
        if (wanted(a->algorithm_names)
            && (input == NULL || strstr(a->property_definition, input))
            && (structure == NULL || strstr(a->property_definition, structure)))
        {
            ret[n++] = *a;
        }
    }
}


/* What the default provider answers is its own, and never changes. */
static const OSSL_ALGORITHM *
query(void *provider, int operation, int *no_cache)
{
    (void) provider;

    *no_cache = 0;

    return operation == OSSL_OP_KEYMGMT ? keys
           : operation == OSSL_OP_DECODER ? decoders
           : OSSL_PROVIDER_query_operation(all, operation, no_cache);
}


static int
start(const OSSL_CORE_HANDLE *handle, const OSSL_DISPATCH *in,
    const OSSL_DISPATCH **out, void **provider)
{
    static const OSSL_DISPATCH  dispatch[] = {
        { OSSL_FUNC_PROVIDER_QUERY_OPERATION, (void (*)(void)) query },
        { 0, NULL }
    };

    (void) handle;
    (void) in;

    *out = dispatch;
    *provider = OSSL_PROVIDER_get0_provider_ctx(all);

    return 1;
}


/* Nothing frees it: certificates know their context as long as they live. */
static void
set_up(void)
{
    OSSL_LIB_CTX  *ctx = NULL;

    ERR_set_mark();

    /* where the host's configuration has another provider, it is to be used */

    if (OSSL_PROVIDER_available(NULL, "default")) {
        all = OSSL_PROVIDER_load(NULL, "default");
    }

    if (all != NULL) {
        pick(OSSL_OP_KEYMGMT, NULL, NULL, keys);
        pick(OSSL_OP_DECODER, "input=der", "structure=SubjectPublicKeyInfo",
             decoders);
        ctx = OSSL_LIB_CTX_new();
    }

    if (ctx != NULL && OSSL_PROVIDER_add_builtin(ctx, PROVIDER, start)
        && OSSL_PROVIDER_load(ctx, PROVIDER) != NULL)
    {
        few = ctx;

    } else {
        OSSL_LIB_CTX_free(ctx);
    }

    ERR_pop_to_mark();
}


/*
 * The key as one of the default provider: else it would be copied there, and kept
 * twice, when it is first compared with a private key.
 */
static bool
bring_home(EVP_PKEY *key)
{
    bool           good;
    OSSL_PARAM    *params = NULL;
    EVP_PKEY_CTX  *ctx;

    if (key == NULL) {
        return false;
    }

    ctx = EVP_PKEY_CTX_new_from_name(NULL, EVP_PKEY_get0_type_name(key), NULL);

    good = ctx != NULL
           && EVP_PKEY_todata(key, EVP_PKEY_PUBLIC_KEY, &params) == 1
           && EVP_PKEY_fromdata_init(ctx) == 1
           && EVP_PKEY_fromdata(ctx, &key, EVP_PKEY_PUBLIC_KEY, params) == 1;

    OSSL_PARAM_free(params);
    EVP_PKEY_CTX_free(ctx);

    return good;
}


/* NULL is no answer: it is OpenSSL's own reading that refuses. */
static X509 *
read_quickly(const unsigned char **p, long len)
{
    X509                 *cert;
    const unsigned char  *end = *p;

    if (!CRYPTO_THREAD_run_once(&once, set_up) || few == NULL) {
        return NULL;
    }

    cert = X509_new_ex(few, NULL);

    if (cert == NULL || d2i_X509(&cert, &end, len) == NULL
        || !bring_home(X509_get0_pubkey(cert)))
    {
        X509_free(cert);
        return NULL;
    }

    *p = end;

    return cert;
}


X509 *
certctl_x509_read(const unsigned char **p, long len)
{
    X509  *cert;

    ERR_set_mark();
    cert = read_quickly(p, len);
    ERR_pop_to_mark();

    return cert != NULL ? cert : d2i_X509(NULL, p, len);
}

#else

X509 *
certctl_x509_read(const unsigned char **p, long len)
{
    return d2i_X509(NULL, p, len);
}

#endif


size_t
certctl_der_len(const unsigned char *der, size_t len)
{
    int                   tag, class;
    long                  body;
    const unsigned char  *p = der;

    return len == 0 || len > LONG_MAX
           || ASN1_get_object(&p, &body, &tag, &class, len) & 0x80
           ? 0 : (size_t) (p - der) + body;
}
