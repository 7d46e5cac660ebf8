
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


typedef struct {
    ngx_http_certctl_keep_ca_t   cas[NGX_HTTP_CERTCTL_KEEP_CAS];
    ngx_uint_t                   next;         /* to be replaced */

    ngx_certctl_key_decoder_t    decoder;
} ngx_http_certctl_keep_t;


static pthread_once_t  ngx_http_certctl_keep_once = PTHREAD_ONCE_INIT;


static ngx_uint_t      ngx_http_certctl_keep_works;


static pthread_key_t   ngx_http_certctl_keep_slot;


/*
 * Nothing frees what is kept: a pool's threads end with their worker, and while
 * they do it unloads this object, so that a destructor may be gone when it is
 * called.
 */

static void
ngx_http_certctl_keep_init(void)
{
    ngx_http_certctl_keep_works =
        (pthread_key_create(&ngx_http_certctl_keep_slot, NULL) == 0);
}


/* NULL where there is no memory: then nothing is kept. */

static ngx_http_certctl_keep_t *
ngx_http_certctl_keep(void)
{
    ngx_http_certctl_keep_t  *keep;

    (void) pthread_once(&ngx_http_certctl_keep_once,
                        ngx_http_certctl_keep_init);

    if (!ngx_http_certctl_keep_works) {
        return NULL;
    }

    keep = pthread_getspecific(ngx_http_certctl_keep_slot);

    if (keep == NULL) {
        keep = calloc(1, sizeof(ngx_http_certctl_keep_t));

        if (keep && pthread_setspecific(ngx_http_certctl_keep_slot, keep)) {
            free(keep);
            keep = NULL;
        }
    }

    return keep;
}


/* Takes the place of what ca was. */

static void
ngx_http_certctl_keep_put(ngx_http_certctl_keep_ca_t *ca, X509 *x509,
    const u_char *der, long len)
{
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
    ngx_http_certctl_keep_t     *keep;
    ngx_http_certctl_keep_ca_t  *ca;

    keep = ngx_http_certctl_keep();
    start = *p;

    for (i = 0; keep && i < NGX_HTTP_CERTCTL_KEEP_CAS; i++) {
        ca = &keep->cas[i];

        if (ca->x509 && ca->len == len
            && ngx_memcmp(ca->der, start, len) == 0
            && X509_up_ref(ca->x509))
        {
            *p += len;
            return ca->x509;
        }
    }

    x509 = d2i_X509(NULL, p, len);

    if (keep && x509 && *p == start + len) {
        ngx_http_certctl_keep_put(&keep->cas[keep->next], x509, start, len);
        keep->next = (keep->next + 1) % NGX_HTTP_CERTCTL_KEEP_CAS;
    }

    return x509;
}


const struct certctl_chain_keep  ngx_http_certctl_keep_ca = {
    ngx_http_certctl_keep_get, NULL
};


EVP_PKEY *
ngx_http_certctl_keep_key(const u_char *der, size_t len)
{
    EVP_PKEY                 *key;
    ngx_http_certctl_keep_t  *keep;

    keep = ngx_http_certctl_keep();

    ERR_set_mark();
    key = keep ? ngx_certctl_decode_key(&keep->decoder, der, len, NULL) : NULL;
    ERR_pop_to_mark();

    return key;
}
