
/*
 * Keeps the control listener's identity and the certificates of sites apart:
 * whoever replaces the one by the other locks the controller out.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "command/put.h"
#include "tls/trust.h"
#include "x509_read.h"


/* The identity's key, as a thread has read it. */

typedef struct {
    ngx_atomic_uint_t  counter;         /* of its name, then */
    ngx_uint_t         known;
    u_char             spki[SHA256_DIGEST_LENGTH];
} ngx_http_certctl_identity_t;


static __thread ngx_http_certctl_identity_t  ngx_http_certctl_identity;


static bool
ngx_http_certctl_identity_uri(const char *kind, const char *text, void *data)
{
    ngx_uint_t *found = data;

    *found = ngx_strcmp(kind, "URI") == 0
             && ngx_strncmp(text, CERTCTL_URN_AGENT,
                            sizeof(CERTCTL_URN_AGENT) - 1) == 0
             && text[sizeof(CERTCTL_URN_AGENT) - 1];

    return !*found;
}


/* As the controller will verify it. */

static ngx_uint_t
ngx_http_certctl_identity_trusted(ngx_http_certctl_put_t *put)
{
    X509            *leaf;
    ngx_uint_t       good;
    X509_STORE      *trust;
    const u_char    *p;
    X509_STORE_CTX  *ctx;

    ERR_set_mark();

    p = put->chain.der;
    leaf = certctl_x509_read(&p, put->chain.leaf_len);
    ctx = X509_STORE_CTX_new();
    (void) ngx_certctl_trust_all(&put->mcf->certctl, &trust);

    good = leaf && ctx && trust
           && X509_STORE_CTX_init(ctx, trust, leaf, put->chain.cas)
           && X509_STORE_CTX_set_purpose(ctx, X509_PURPOSE_SSL_SERVER)
           && X509_verify_cert(ctx) == 1;

    X509_STORE_CTX_free(ctx);
    X509_STORE_free(trust);
    X509_free(leaf);
    ERR_pop_to_mark();

    return good;
}


/* Whether the leaf's key is the identity's. */

static ngx_uint_t
ngx_http_certctl_identity_key(ngx_http_certctl_put_t *put)
{
    ngx_atomic_uint_t             counter;
    certctl_record_t              record;
    ngx_http_certctl_identity_t  *identity;

    identity = &ngx_http_certctl_identity;

    counter = *ngx_certctl_zone_counter(put->mcf->certctl.zone,
                                        (u_char *) CERTCTL_WIRE_IDENTITY,
                                        sizeof(CERTCTL_WIRE_IDENTITY) - 1);

    if (!identity->known || identity->counter != counter) {

        if (certctl_store_read(put->mcf->certctl.store, CERTCTL_WIRE_IDENTITY,
                               &record)
            != CERTCTL_STORE_OK)
        {
            return 0;
        }

        ngx_memcpy(identity->spki, record.spki, sizeof(identity->spki));
        identity->counter = counter;
        identity->known = 1;

        certctl_record_free(&record);
    }

    return ngx_memcmp(identity->spki, put->record.spki, sizeof(identity->spki))
           == 0;
}


const char *
ngx_http_certctl_put_identity(ngx_http_certctl_put_t *put)
{
    ngx_uint_t  found;

    if (!put->identity) {
        return put->keygen && ngx_http_certctl_identity_key(put)
               ? "the key of the control listener's identity cannot be used "
                 "for a site: generate another one"
               : NULL;
    }

    if (put->keygen) {
        return "the key of the control listener's identity is generated on "
               "this host: send the chain for the key of POST "
               "certificates/" CERTCTL_WIRE_IDENTITY "/csr, without "
               "keygen=server";
    }

    found = 0;
    (void) certctl_names_each(put->chain.leaf.names,
                              ngx_http_certctl_identity_uri, &found);

    if (!found) {
        return "the control listener's identity must carry the URI "
               CERTCTL_URN_AGENT "<id> (RFC 5280 4.2.1.6)";
    }

    return ngx_http_certctl_identity_trusted(put)
           ? NULL
           : "the control listener's identity must chain to certctl_trust, or "
             "to a CA of PUT trust (RFC 5280 6.1)";
}
