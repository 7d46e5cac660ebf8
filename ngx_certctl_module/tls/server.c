
/*
 * One TLS server of http{} or stream{} that certctl is on for.
 */

#include <ngx_config.h>
#include <ngx_core.h>

#include "cert/placeholder.h"
#include "tls/acme.h"
#include "tls/handshake.h"
#include "tls/server.h"
#include "tls/sessions.h"


/* index of our server in an SSL_CTX's ex_data; stays for the process */

static int  ngx_certctl_ctx_index = -1;


ngx_int_t
ngx_certctl_server_name(ngx_conf_t *cf, ngx_certctl_server_t *server,
    ngx_str_t *name, ngx_uint_t regex)
{
    u_char     *reached;
    ngx_str_t  *copy;

    if (server == NULL || name->len == 0) {
        return NGX_OK;
    }

    copy = ngx_array_push(&server->names);
    reached = ngx_array_push(&server->reached);

    if (copy == NULL || reached == NULL) {
        return NGX_ERROR;
    }

    *reached = 1;

    copy->data = ngx_pnalloc(cf->pool, name->len + sizeof("~"));
    if (copy->data == NULL) {
        return NGX_ERROR;
    }

    copy->len = ngx_sprintf(copy->data, "%s%V", regex ? "~" : "", name)
                - copy->data;

    return NGX_OK;
}


/*
 * What the context really holds: of two certificates of one type OpenSSL has
 * kept the last, whatever the configuration says.
 */

static ngx_int_t
ngx_certctl_find_certs(ngx_conf_t *cf, SSL_CTX *ctx, ngx_uint_t placeholder,
    ngx_array_t *certs)
{
    int                  rc;
    X509                *current;
    ngx_certctl_cert_t  *cert;

    if (ngx_array_init(certs, cf->pool, 2, sizeof(ngx_certctl_cert_t))
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    current = SSL_CTX_get0_certificate(ctx);

    for (rc = SSL_CTX_set_current_cert(ctx, SSL_CERT_SET_FIRST);
         rc == 1;
         rc = SSL_CTX_set_current_cert(ctx, SSL_CERT_SET_NEXT))
    {
        cert = ngx_array_push(certs);
        if (cert == NULL) {
            return NGX_ERROR;
        }

        ngx_certctl_cert_borrow(cert, ctx);

        if (placeholder) {
            cert->source = NGX_CERTCTL_PLACEHOLDER;
            ngx_str_set(&cert->name, NGX_CERTCTL_PLACEHOLDER_NAME);
        }
    }

    if (current) {
        (void) SSL_CTX_select_current_cert(ctx, current);
    }

    return NGX_OK;
}


static ngx_int_t
ngx_certctl_server_set_callbacks(ngx_conf_t *cf, ngx_certctl_server_t *server)
{
    if (ngx_certctl_ctx_index == -1) {
        ngx_certctl_ctx_index = SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL,
                                                         NULL);
    }

    if (ngx_certctl_ctx_index == -1
        || SSL_CTX_set_ex_data(server->ctx, ngx_certctl_ctx_index, server) != 1
        || ngx_certctl_set_callbacks(server) != NGX_OK)
    {
        ngx_ssl_error(NGX_LOG_EMERG, cf->log, 0,
                      "SSL_CTX_set_ex_data() failed");
        return NGX_ERROR;
    }

    return NGX_OK;
}


static ngx_certctl_server_t *
ngx_certctl_server_create(ngx_conf_t *cf, ngx_certctl_t *certctl,
    ngx_certctl_block_t *block)
{
    ngx_certctl_server_t    *server, **added;
    ngx_certctl_srv_conf_t  *conf;

    if (certctl->servers.elts == NULL
        && ngx_array_init(&certctl->servers, cf->pool, 4,
                          sizeof(ngx_certctl_server_t *))
           != NGX_OK)
    {
        return NULL;
    }

    server = ngx_palloc(cf->pool, sizeof(ngx_certctl_server_t));
    added = ngx_array_push(&certctl->servers);

    if (server == NULL || added == NULL) {
        return NULL;
    }

    conf = block->conf;

    *added = server;
    *server = block->server;

    server->certctl = certctl;
    server->listens = *conf->listens;
    server->placeholder = conf->placeholder;
    server->first = conf->first;
    server->expressions = conf->expressions;

    if (server->agent) {
        ngx_str_set(&server->pinned, CERTCTL_WIRE_IDENTITY);

    } else {
        server->pinned = conf->certificate;
    }

    if (ngx_array_init(&server->names, cf->pool, 1, sizeof(ngx_str_t))
        != NGX_OK
        || ngx_array_init(&server->reached, cf->pool, 1, sizeof(u_char))
           != NGX_OK
        || ngx_certctl_find_certs(cf, server->ctx, server->placeholder,
                                  &server->certs)
           != NGX_OK)
    {
        return NULL;
    }

    return server;
}


/* What handshakes of the server use without certctl. */

static void
ngx_certctl_find_context(ngx_certctl_block_t *block)
{
    ngx_certctl_srv_conf_t  *conf;

    conf = block->conf;

    if (block->certificates && !conf->placeholder) {
        conf->context.ctx = block->server.ctx;
    }

    if (block->server.cert_cb) {
        conf->expressions = block->certificates;
        conf->context.cert_cb = block->server.cert_cb;
        conf->context.cert_arg = block->server.cert_arg;
    }
}


/*
 * Whether the tickets of the server are encrypted with the store's keys.
 * Refuses ssl_session_ticket_key beside them, and warns where
 * certctl_ticket_keys has no effect.
 */

static ngx_int_t
ngx_certctl_uses_ticket_keys(ngx_conf_t *cf, ngx_certctl_block_t *block,
    ngx_uint_t *on)
{
    const char              *lacks;
    ngx_certctl_srv_conf_t  *conf;

    conf = block->conf;
    *on = conf->ticket_keys && conf->tls && block->tickets;

    if (*on && block->ticket_files) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "\"certctl_ticket_keys on\" and "
                      "\"ssl_session_ticket_key\" exclude each other: remove "
                      "one of them from the server in %V:%ui, or write "
                      "\"certctl_ticket_keys off;\" there",
                      &block->server.file, block->server.line);
        return NGX_ERROR;
    }

    if (!conf->own_ticket_keys) {
        return NGX_OK;
    }

    lacks = !conf->tls ? "without \"listen ... ssl;\""
            : !block->tickets ? "beside \"ssl_session_tickets off;\""
            : !conf->first ? "unless the default server of the address has it"
            : NULL;

    if (lacks) {
        ngx_log_error(NGX_LOG_WARN, cf->log, 0,
                      "\"certctl_ticket_keys on\" has no effect %s in the "
                      "server in %V:%ui",
                      lacks, &block->server.file, block->server.line);
    }

    return NGX_OK;
}


/* Every server: the default one's context decides, whoever it is. */

static ngx_int_t
ngx_certctl_add_sessions(ngx_conf_t *cf, ngx_certctl_t *certctl,
    ngx_certctl_block_t *block)
{
    ngx_str_t   *name;
    ngx_uint_t   tickets;

    if (ngx_certctl_uses_ticket_keys(cf, block, &tickets) != NGX_OK) {
        return NGX_ERROR;
    }

    name = tickets ? block->ticket_name
           : block->conf->placeholder ? block->name
           : block->server.cert_cb ? block->certificates->elts : NULL;

    return ngx_certctl_sessions_add(cf, certctl, block->server.ctx,
                                    block->server.protocol, name, tickets);
}


ngx_int_t
ngx_certctl_server_add(ngx_conf_t *cf, ngx_certctl_t *certctl,
    ngx_certctl_block_t *block)
{
    SSL_CTX                 *ctx;
    ngx_certctl_srv_conf_t  *conf;

    conf = block->conf;
    ctx = block->server.ctx;

    if (ngx_certctl_add_sessions(cf, certctl, block) != NGX_OK
        || (ctx && conf->challenge
            && ngx_certctl_acme_set_callback(cf, certctl, ctx, block->close)
               != NGX_OK))
    {
        return NGX_ERROR;
    }

    if (!conf->tls) {
        return NGX_OK;
    }

    ngx_certctl_find_context(block);

    if ((!conf->enable && !block->server.agent) || conf->incomplete) {
        return NGX_OK;
    }

    if (ctx == NULL) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "no TLS context for the server in %V:%ui: build "
                      "ngx_%s_certctl_module as a dynamic module, so that "
                      "it comes before ngx_%s_ssl_module",
                      &block->server.file, block->server.line,
                      block->server.protocol, block->server.protocol);
        return NGX_ERROR;
    }

    conf->server = ngx_certctl_server_create(cf, certctl, block);

    return conf->server
           ? ngx_certctl_server_set_callbacks(cf, conf->server) : NGX_ERROR;
}


/* The certificates of a default server that has an ssl_certificate. */

static ngx_array_t *
ngx_certctl_default_certs(ngx_conf_t *cf, ngx_certctl_srv_conf_t *conf)
{
    ngx_array_t  *certs;

    if (conf->server) {
        return &conf->server->certs;
    }

    if (conf->certs == NULL) {
        certs = ngx_palloc(cf->pool, sizeof(ngx_array_t));

        if (certs == NULL
            || ngx_certctl_find_certs(cf, conf->context.ctx, 0, certs)
               != NGX_OK)
        {
            return NULL;
        }

        conf->certs = certs;
    }

    return conf->certs;
}


/* Connections use the context of their address; the report shows certificates
   and expressions of the first address only. */

static ngx_int_t
ngx_certctl_add_default(ngx_conf_t *cf, ngx_certctl_server_t *server,
    ngx_certctl_srv_conf_t *by_default)
{
    ngx_array_t            *certs;
    ngx_certctl_context_t  *context;

    if (server->by_default == NULL) {
        server->by_default = by_default->server;
    }

    if (by_default->context.ctx == NULL) {
        return NGX_OK;
    }

    context = ngx_array_push(&server->contexts);
    if (context == NULL) {
        return NGX_ERROR;
    }

    *context = by_default->context;
    context->server = by_default->server;

    if (server->first || server->contexts.nelts > 1) {
        return NGX_OK;
    }

    certs = ngx_certctl_default_certs(cf, by_default);
    if (certs == NULL) {
        return NGX_ERROR;
    }

    server->certs = *certs;
    server->expressions = by_default->expressions;

    return NGX_OK;
}


ngx_int_t
ngx_certctl_server_default(ngx_conf_t *cf, ngx_certctl_srv_conf_t *conf)
{
    ngx_uint_t                i;
    ngx_certctl_server_t     *server;
    ngx_certctl_srv_conf_t  **by_default;

    server = conf->server;

    if (server == NULL || !server->placeholder) {
        return NGX_OK;
    }

    if (ngx_array_init(&server->contexts, cf->pool, 1,
                       sizeof(ngx_certctl_context_t))
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    by_default = conf->defaults->elts;

    for (i = 0; i < conf->defaults->nelts; i++) {

        if (by_default[i] != conf
            && ngx_certctl_add_default(cf, server, by_default[i]) != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


void
ngx_certctl_servers_free(ngx_certctl_t *certctl)
{
    ngx_uint_t              s, c;
    ngx_certctl_cert_t     *cert;
    ngx_certctl_server_t  **server;

    server = certctl->servers.elts;

    for (s = 0; s < certctl->servers.nelts; s++) {
        cert = server[s]->certs.elts;

        for (c = 0; c < server[s]->certs.nelts; c++) {
            ngx_certctl_cert_unstaple(&cert[c]);
        }
    }
}


ngx_certctl_server_t *
ngx_certctl_ctx_server(SSL_CTX *ctx)
{
    return ngx_certctl_ctx_index == -1
           ? NULL : SSL_CTX_get_ex_data(ctx, ngx_certctl_ctx_index);
}


ngx_certctl_server_t *
ngx_certctl_ssl_server(SSL *ssl)
{
    return ngx_certctl_ctx_server(SSL_get_SSL_CTX(ssl));
}
