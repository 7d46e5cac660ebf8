
/*
 * No session or ticket of before a flush is resumed after it.  OpenSSL resumes
 * a session, from a cache or a ticket, only in the session id context in which
 * it was made.  So each flush sets another context in every TLS server: a
 * digest of its first one and the epoch of the flush.
 */

#include <ngx_config.h>
#include <ngx_core.h>

#include "tls/sessions.h"
#include "tls/ticket_keys.h"


#define NGX_CERTCTL_SESSIONS_LABEL  "certctl sessions 1"


typedef struct {
    SSL_CTX     *ctx;
    u_char       base[32];      /* digest of the server's configuration */
    u_char       context[32];   /* digest of base and the epoch */
} ngx_certctl_sessions_t;


static ngx_uint_t
ngx_certctl_sessions_certs(EVP_MD_CTX *md, SSL_CTX *ctx)
{
    int         rc;
    X509       *current;
    u_char      digest[32];
    ngx_uint_t  ok;

    ok = 1;
    current = SSL_CTX_get0_certificate(ctx);

    for (rc = SSL_CTX_set_current_cert(ctx, SSL_CERT_SET_FIRST);
         rc == 1;
         rc = SSL_CTX_set_current_cert(ctx, SSL_CERT_SET_NEXT))
    {
        ok = ok
             && X509_digest(SSL_CTX_get0_certificate(ctx), EVP_sha256(),
                            digest, NULL) == 1
             && EVP_DigestUpdate(md, digest, sizeof(digest)) == 1;
    }

    if (current) {
        (void) SSL_CTX_select_current_cert(ctx, current);
    }

    return ok;
}


static ngx_uint_t
ngx_certctl_sessions_names(EVP_MD_CTX *md, SSL_CTX *ctx)
{
    int                   i;
    u_char                digest[32];
    ngx_uint_t            ok;
    STACK_OF(X509_NAME)  *names;

    ok = 1;
    names = SSL_CTX_get_client_CA_list(ctx);

    for (i = 0; i < sk_X509_NAME_num(names); i++) {
        ok = ok
             && X509_NAME_digest(sk_X509_NAME_value(names, i), EVP_sha256(),
                                 digest, NULL) == 1
             && EVP_DigestUpdate(md, digest, sizeof(digest)) == 1;
    }

    return ok;
}


/* As NGINX does it: certificates, and the CAs of clients. */

static ngx_int_t
ngx_certctl_sessions_base(ngx_certctl_sessions_t *sessions,
    const char *protocol, ngx_str_t *name)
{
    int          mode;
    ngx_int_t    rc;
    SSL_CTX     *ctx;
    EVP_MD_CTX  *md;

    ctx = sessions->ctx;
    mode = SSL_CTX_get_verify_mode(ctx);
    md = EVP_MD_CTX_new();

    rc = md
         && EVP_DigestInit_ex(md, EVP_sha256(), NULL) == 1
         && EVP_DigestUpdate(md, protocol, ngx_strlen(protocol) + 1) == 1
         && EVP_DigestUpdate(md, &mode, sizeof(mode)) == 1
         && (name ? EVP_DigestUpdate(md, name->data, name->len) == 1
                  : ngx_certctl_sessions_certs(md, ctx))
         && ngx_certctl_sessions_names(md, ctx)
         && EVP_DigestFinal_ex(md, sessions->base, NULL) == 1
         ? NGX_OK : NGX_ERROR;

    EVP_MD_CTX_free(md);

    return rc;
}


static ngx_int_t
ngx_certctl_sessions_set(ngx_certctl_sessions_t *sessions, uint64_t epoch)
{
    size_t  n;
    u_char  text[sizeof(NGX_CERTCTL_SESSIONS_LABEL) + 32 + 8];

    n = sizeof(NGX_CERTCTL_SESSIONS_LABEL);

    ngx_memcpy(text, NGX_CERTCTL_SESSIONS_LABEL, n);
    ngx_memcpy(text + n, sessions->base, 32);
    ngx_memcpy(text + n + 32, &epoch, sizeof(epoch));

    return EVP_Digest(text, sizeof(text), sessions->context, NULL,
                      EVP_sha256(), NULL)
           == 1
           && SSL_CTX_set_session_id_context(sessions->ctx, sessions->context,
                                             sizeof(sessions->context))
              == 1 ? NGX_OK : NGX_ERROR;
}


ngx_int_t
ngx_certctl_sessions_add(ngx_conf_t *cf, ngx_certctl_t *certctl, SSL_CTX *ctx,
    const char *protocol, ngx_str_t *name, ngx_uint_t tickets)
{
    ngx_certctl_sessions_t  *sessions;

    if (ctx == NULL) {
        return NGX_OK;
    }

    if (certctl->sessions.elts == NULL
        && ngx_array_init(&certctl->sessions, cf->pool, 4,
                          sizeof(ngx_certctl_sessions_t))
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    sessions = ngx_array_push(&certctl->sessions);
    if (sessions == NULL) {
        return NGX_ERROR;
    }

    sessions->ctx = ctx;

    if (ngx_certctl_sessions_base(sessions, protocol, name) != NGX_OK
        || ngx_certctl_ticket_keys_set_callback(certctl, ctx, tickets) != NGX_OK
        || (tickets && ngx_certctl_sessions_set(sessions, 0) != NGX_OK))
    {
        ngx_ssl_error(NGX_LOG_EMERG, cf->log, 0,
                      "certctl: TLS sessions cannot be set up");
        return NGX_ERROR;
    }

    return NGX_OK;
}


void
ngx_certctl_sessions_flush(ngx_certctl_zone_t *zone, uint64_t epoch)
{
    ngx_atomic_uint_t  last;

    do {
        last = zone->sessions;

        if (last >= epoch) {
            return;
        }

    } while (!ngx_atomic_cmp_set(&zone->sessions, last, epoch));
}


void
ngx_certctl_sessions_init(ngx_certctl_t *certctl, ngx_log_t *log)
{
    int       rc;
    uint64_t  epoch;

    rc = certctl_store_flushed(certctl->store, &epoch);

    if (rc == CERTCTL_STORE_NOT_FOUND
        || (rc != CERTCTL_STORE_OK && log == NULL))
    {
        return;
    }

    /* the epoch is lost: all sessions are flushed */

    if (rc != CERTCTL_STORE_OK) {
        ngx_log_error(NGX_LOG_ALERT, log, 0,
                      "certctl: the epoch of flushed sessions cannot be read, "
                      "all sessions are flushed now");
        epoch = (uint64_t) ngx_time() * 1000000;
        (void) certctl_store_flush(certctl->store, &epoch);
    }

    ngx_certctl_sessions_flush(certctl->zone, epoch);
}


void
ngx_certctl_sessions_update(ngx_certctl_t *certctl)
{
    uint64_t                 epoch;
    ngx_uint_t               i, failed;
    ngx_certctl_sessions_t  *sessions;

    epoch = certctl->zone->sessions;

    if (epoch == certctl->flushed) {
        return;
    }

    failed = 0;
    sessions = certctl->sessions.elts;

    for (i = 0; i < certctl->sessions.nelts; i++) {
        failed |= (ngx_certctl_sessions_set(&sessions[i], epoch) != NGX_OK);
    }

    if (failed) {
        ngx_ssl_error(NGX_LOG_ALERT, ngx_cycle->log, 0,
                      "certctl: SSL_CTX_set_session_id_context() failed, "
                      "sessions are not flushed");
        return;
    }

    certctl->flushed = epoch;
    certctl->flushed_at = ngx_current_msec;

    if (ngx_worker < NGX_CERTCTL_WORKERS && !ngx_exiting) {
        certctl->zone->workers[ngx_worker].sessions = epoch;
    }
}


/*
 * A connection has the context of its start, and keeps it when its name selects
 * another server: with a ClientHello that began before a flush a client would
 * resume a flushed session, with any server.
 */

void
ngx_certctl_sessions_check(ngx_certctl_t *certctl, SSL *ssl,
    ngx_connection_t *c)
{
    SSL_CTX                 *ctx;
    ngx_uint_t               i;
    ngx_certctl_sessions_t  *sessions;

    ngx_certctl_sessions_update(certctl);

    if (certctl->flushed == 0
        || (ngx_msec_int_t) (c->start_time - certctl->flushed_at) > 0)
    {
        return;
    }

    ctx = SSL_get_SSL_CTX(ssl);
    sessions = certctl->sessions.elts;

    for (i = 0; i < certctl->sessions.nelts; i++) {

        if (sessions[i].ctx == ctx) {
            (void) SSL_set_session_id_context(ssl, sessions[i].context,
                                              sizeof(sessions[i].context));
            return;
        }
    }
}
