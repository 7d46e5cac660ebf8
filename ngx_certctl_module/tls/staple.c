
/*
 * Staples the OCSP response that was delivered for the certificate of the
 * handshake, while it is valid: its signature is verified when it is loaded,
 * its times at each use.
 */

#include <ngx_config.h>
#include <ngx_core.h>

#include "tls/handshake.h"


const char  *ngx_certctl_staple_text[NGX_CERTCTL_STAPLE_STATES] = {
#define X(NAME, text)  text,
    CERTCTL_STAPLE_STATES(X)
#undef X
};


/* Seconds after which the staple of a static certificate is read again without
   a changed counter if it has no valid one, and after which a response that was
   refused is verified again. */

#define NGX_CERTCTL_STAPLE_RECHECK  60


/* Of what is known of cert, without reading anything. */

static ngx_certctl_staple_e
ngx_certctl_staple_check(ngx_certctl_cert_t *cert, time_t now)
{
    const char  *rule;

    if (cert->staple.len == 0) {
        return cert->ocsp ? NGX_CERTCTL_STAPLE_MISSING
                          : NGX_CERTCTL_STAPLE_NOT_APPLICABLE;
    }

    if (cert->staple_withdrawn) {
        return NGX_CERTCTL_STAPLE_WITHDRAWN;
    }

    if (cert->staple_good) {
        return certctl_ocsp_staple_check(&cert->staple_info, cert->x509, now)
               ? NGX_CERTCTL_STAPLE_STALE : NGX_CERTCTL_STAPLE_FRESH;
    }

    if (cert->staple_bad
        && now >= cert->staple_bad
        && now - cert->staple_bad < NGX_CERTCTL_STAPLE_RECHECK)
    {
        return NGX_CERTCTL_STAPLE_STALE;
    }

    ERR_set_mark();
    rule = certctl_ocsp_check_staple(cert->staple.data, cert->staple.len,
                                     cert->x509, cert->chain, now,
                                     &cert->staple_info);
    ERR_pop_to_mark();

    if (rule) {
        ngx_log_error(NGX_LOG_WARN, ngx_cycle->log, 0,
                      "the OCSP response for \"%V\" is not stapled: %s",
                      &cert->name, rule);
        cert->staple_bad = now;
        return NGX_CERTCTL_STAPLE_STALE;
    }

    cert->staple_good = 1;

    return NGX_CERTCTL_STAPLE_FRESH;
}


/*
 * The staple of a static certificate is a file of its own, read at its first
 * use and when the counter of its fingerprint has changed.
 */

static void
ngx_certctl_staple_read(ngx_certctl_t *certctl,
    ngx_certctl_cert_t *cert, time_t now)
{
    int64_t             until;
    certctl_blob_t      der;
    ngx_atomic_uint_t   counter;

    counter = *ngx_certctl_zone_counter(certctl->zone,
                                        (u_char *) cert->fingerprint,
                                        CERTCTL_HEX256 - 1);

    if (cert->staple_read
        && counter == cert->staple_seen
        && (ngx_certctl_staple_check(cert, now) == NGX_CERTCTL_STAPLE_FRESH
            || (now >= cert->staple_read
                && now - cert->staple_read < NGX_CERTCTL_STAPLE_RECHECK)))
    {
        return;
    }

    ngx_memory_barrier();

    cert->staple_seen = counter;
    cert->staple_read = now;

    if (certctl->store == NULL
        || certctl_store_static_staple_get(certctl->store, cert->digest, &der,
                                           &until)
           != CERTCTL_STORE_OK)
    {
        return;
    }

    ngx_certctl_cert_unstaple(cert);

    cert->staple.data = ngx_alloc(der.len, ngx_cycle->log);

    if (cert->staple.data) {
        ngx_memcpy(cert->staple.data, der.data, der.len);
        cert->staple.len = der.len;
        cert->staple_withdrawn = (until == CERTCTL_STAPLE_WITHDRAWN);
    }

    free(der.data);
}


ngx_certctl_staple_e
ngx_certctl_staple_state(ngx_certctl_t *certctl,
    ngx_certctl_cert_t *cert, time_t now)
{
    if (cert->source == NGX_CERTCTL_STATIC) {
        ngx_certctl_staple_read(certctl, cert, now);
    }

    return ngx_certctl_staple_check(cert, now);
}


static int
ngx_certctl_staple_send(SSL *ssl, ngx_certctl_server_t *server,
    ngx_certctl_cert_t *cert)
{
    u_char  *der;

    der = OPENSSL_malloc(cert->staple.len);
    if (der == NULL) {
        return SSL_TLSEXT_ERR_NOACK;
    }

    /* OpenSSL frees it */

    ngx_memcpy(der, cert->staple.data, cert->staple.len);
    SSL_set_tlsext_status_ocsp_resp(ssl, der, cert->staple.len);

    (void) ngx_atomic_fetch_add(&server->certctl->zone->staples, 1);

    return SSL_TLSEXT_ERR_OK;
}


int
ngx_certctl_status_cb(SSL *ssl, void *arg)
{
    ngx_certctl_server_t  *server = arg;

    ngx_certctl_cert_t    *cert;
    ngx_certctl_staple_e   state;

    cert = ngx_certctl_sent(ssl, server);
    state = NGX_CERTCTL_STAPLE_MISSING;

    if (cert) {
        state = ngx_certctl_staple_state(server->certctl, cert, ngx_time());
    }

    if (state == NGX_CERTCTL_STAPLE_FRESH) {
        return ngx_certctl_staple_send(ssl, server, cert);
    }

    /*
     * What "ssl_stapling on" has found fits what NGINX loaded itself; it may be
     * of before a revocation that NGINX does not know of.
     */

    if (server->status_cb
        && state != NGX_CERTCTL_STAPLE_WITHDRAWN
        && (cert == NULL || cert->source != NGX_CERTCTL_STORE))
    {
        return server->status_cb(ssl, server->status_arg);
    }

    return SSL_TLSEXT_ERR_NOACK;
}


ngx_certctl_cert_t *
ngx_certctl_static(ngx_certctl_t *certctl,
    const u_char *digest)
{
    ngx_uint_t              s, i;
    ngx_certctl_cert_t     *cert;
    ngx_certctl_server_t  **server;

    server = certctl->servers.elts;

    for (s = 0; s < certctl->servers.nelts; s++) {
        cert = server[s]->certs.elts;

        for (i = 0; i < server[s]->certs.nelts; i++) {

            if (cert[i].source == NGX_CERTCTL_STATIC
                && ngx_memcmp(cert[i].digest, digest, sizeof(cert[i].digest))
                   == 0)
            {
                return &cert[i];
            }
        }
    }

    return NULL;
}
