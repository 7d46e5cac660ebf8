
/* Which names and which key a record's chain is for, and how it is found. */


#include "ngx_certctl_store_impl.h"

#include <stdlib.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/x509.h>

#include "x509_chain.h"
#include "x509_info.h"


typedef struct {
    certctl_blob_t   names;
    size_t           size;
    int              failed;
} names_t;


int
certctl_record_has_name(const certctl_blob_t *names, const char *name)
{
    const char  *at;

    for (at = certctl_record_next_name(names, NULL);
         at != NULL;
         at = certctl_record_next_name(names, at))
    {
        if (strcmp(at, name) == 0) {
            return 1;
        }
    }

    return 0;
}


/*
 * What we sealed ends with a NUL.  A text without one is none: this must not
 * hang on the word of whoever holds the sealing key.
 */

const char *
certctl_record_next_name(const certctl_blob_t *names, const char *at)
{
    size_t       left;
    const char  *start = (const char *) names->data;

    if (names->len == 0) {
        return NULL;
    }

    at = at ? at + strlen(at) + 1 : start;
    left = start + names->len - at;

    return left && memchr(at, '\0', left) ? at : NULL;
}


/* A certificate may say a name twice; once is enough here. */

static bool
collect(const char *kind, const char *text, void *data)
{
    char      key[CERTCTL_NAME_SIZE];
    size_t    len;
    u_char   *grown;
    names_t  *to = data;

    if ((strcmp(kind, "DNS") != 0 && strcmp(kind, "IP") != 0)
        || !certctl_host_key(text, key)
        || certctl_record_has_name(&to->names, key))
    {
        return true;
    }

    len = strlen(key) + 1;

    if (to->names.len + len > to->size) {
        grown = realloc(to->names.data, to->size * 2 + len);

        if (grown == NULL) {
            to->failed = 1;
            return false;
        }

        to->names.data = grown;
        to->size = to->size * 2 + len;
    }

    memcpy(to->names.data + to->names.len, key, len);
    to->names.len += len;

    return true;
}


static int
digests(X509 *leaf, u_char *spki, u_char *fingerprint)
{
    u_char        *der = NULL;
    unsigned int   n;
    int            len, good;

    len = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(leaf), &der);

    good = len > 0
           && EVP_Digest(der, len, spki, &n, EVP_sha256(), NULL)
           && X509_digest(leaf, EVP_sha256(), fingerprint, &n);

    OPENSSL_free(der);

    return good;
}


/* Not the chain: who has a leaf at hand has parsed and judged it. */

const char *
certctl_record_inspect_leaf(X509 *leaf, u_char *spki, u_char *fingerprint,
    certctl_blob_t *names)
{
    char         hex[CERTCTL_HEX256];
    names_t      to = { { NULL, 0 }, 0, 0 };
    const char  *why = NULL;

    ERR_set_mark();

    if (!digests(leaf, spki, fingerprint)) {
        why = "the certificate could not be hashed";
    }

    ERR_pop_to_mark();

    if (why == NULL && names != NULL) {
        certctl_x509_each_san(leaf, collect, &to);

        /* no host is called so: a label has at most 63 characters
           (RFC 1035 2.3.4) */

        certctl_hex(fingerprint, 32, hex);
        (void) collect("DNS", hex, &to);
        why = to.failed ? "out of memory" : NULL;
    }

    if (why != NULL) {
        free(to.names.data);
        return why;
    }

    if (names != NULL) {
        *names = to.names;
    }

    return NULL;
}


const char *
certctl_record_inspect(const certctl_blob_t *chain, u_char *spki,
    u_char *fingerprint, certctl_blob_t *names)
{
    const char      *why;
    STACK_OF(X509)  *certs;

    certs = certctl_chain_from_der(chain->data, chain->len, &why);
    if (certs == NULL) {
        return why;
    }

    why = certctl_record_inspect_leaf(sk_X509_value(certs, 0), spki,
                                      fingerprint, names);
    sk_X509_pop_free(certs, X509_free);

    return why;
}
