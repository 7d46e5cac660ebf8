
/*
 * What a thread of the pool keeps between requests: key decoders, and CA
 * certificates, as thousands of chains have a handful of CAs.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "cert/key_decoder.h"
#include "command/put.h"
#include "x509_chain.h"


#define NGX_HTTP_CERTCTL_KEEP_CAS  8


typedef struct {
    X509                        *x509;
    u_char                      *der;
    long                         len;
} ngx_http_certctl_keep_ca_t;


/*
 * Nothing frees what is kept: a pool's threads end with their worker, and while
 * they do it unloads this object, so that a destructor may be gone when it is
 * called.
 */

static __thread struct {
    ngx_http_certctl_keep_ca_t   cas[NGX_HTTP_CERTCTL_KEEP_CAS];
    ngx_uint_t                   next;         /* to be replaced */

    ngx_certctl_key_decoder_t    decoder;
} ngx_http_certctl_keep;


static void
ngx_http_certctl_keep_put(X509 *x509, const u_char *der, long len)
{
    ngx_http_certctl_keep_ca_t  *ca;

    ca = &ngx_http_certctl_keep.cas[ngx_http_certctl_keep.next++
                                    % NGX_HTTP_CERTCTL_KEEP_CAS];
    X509_free(ca->x509);
    free(ca->der);

    ca->x509 = NULL;
    ca->der = malloc(len);

    if (ca->der && X509_up_ref(x509)) {
        ca->x509 = x509;
        ca->len = len;
        ngx_memcpy(ca->der, der, len);
    }
}


/* d2i_X509() for a CA's certificate. */

static X509 *
ngx_http_certctl_keep_get(const u_char **p, long len, void *data)
{
    X509                        *x509;
    ngx_uint_t                   i;
    const u_char                *start;
    ngx_http_certctl_keep_ca_t  *ca;

    start = *p;
    ca = ngx_http_certctl_keep.cas;

    for (i = 0; i < NGX_HTTP_CERTCTL_KEEP_CAS; i++) {

        if (ca[i].x509 && ca[i].len == len
            && ngx_memcmp(ca[i].der, start, len) == 0
            && X509_up_ref(ca[i].x509))
        {
            *p += len;
            return ca[i].x509;
        }
    }

    x509 = d2i_X509(NULL, p, len);

    if (x509 && *p == start + len) {
        ngx_http_certctl_keep_put(x509, start, len);
    }

    return x509;
}


const struct certctl_chain_keep  ngx_http_certctl_keep_ca = {
    ngx_http_certctl_keep_get, NULL
};


EVP_PKEY *
ngx_http_certctl_keep_key(const u_char *der, size_t len)
{
    EVP_PKEY  *key;

    ERR_set_mark();
    key = ngx_certctl_decode_key(&ngx_http_certctl_keep.decoder, der, len,
                                 NULL);
    ERR_pop_to_mark();

    return key;
}
