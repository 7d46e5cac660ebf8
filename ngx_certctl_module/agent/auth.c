
/*
 * Who may command this host: mutual TLS on the control listener, and the
 * identity that a client's certificate carries.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "agent/agent.h"
#include "tls/server.h"


/* The fleet CA, perhaps an intermediate, and the controller's own. */
#define NGX_HTTP_CERTCTL_VERIFY_DEPTH  3


/* NGINX's own info callback: one per process, the same for every context. */

static void  (*ngx_http_certctl_next_info)(const SSL *ssl, int where, int ret);


static void
ngx_http_certctl_auth_refused(const SSL *ssl, const char *reason)
{
    ngx_connection_t      *c;
    ngx_certctl_server_t  *server;

    c = ngx_ssl_get_connection((SSL *) ssl);
    server = ngx_certctl_ssl_server((SSL *) ssl);

    ngx_log_error(NGX_LOG_WARN, c->log, 0,
                  "certctl: control connection refused: %s", reason);

    if (server && server->certctl->zone) {
        (void) ngx_atomic_fetch_add(&server->certctl->zone->rejects, 1);
    }
}


/* 0: the handshake fails with the alert that fits the error. */

static int
ngx_http_certctl_auth_verify(int ok, X509_STORE_CTX *store)
{
    int   err;
    SSL  *ssl;

    if (ok) {
        return 1;
    }

    err = X509_STORE_CTX_get_error(store);
    ssl = X509_STORE_CTX_get_ex_data(store,
                                     SSL_get_ex_data_X509_STORE_CTX_idx());

    ngx_http_certctl_auth_refused(ssl, X509_verify_cert_error_string(err));

    return 0;
}


/* A client without a certificate is seen only by the alert it gets. */

static void
ngx_http_certctl_auth_info(const SSL *ssl, int where, int ret)
{
    if (ngx_http_certctl_next_info) {
        ngx_http_certctl_next_info(ssl, where, ret);
    }

    if ((where & SSL_CB_WRITE_ALERT) == SSL_CB_WRITE_ALERT
        && (ret & 0xff) == SSL_AD_CERTIFICATE_REQUIRED)
    {
        ngx_http_certctl_auth_refused(ssl, "no client certificate");
    }
}


static ngx_int_t
ngx_http_certctl_auth_set(ngx_conf_t *cf, SSL_CTX *ctx,
    ngx_http_certctl_main_conf_t *mcf)
{
    STACK_OF(X509_NAME)  *names;

    if (SSL_CTX_set1_verify_cert_store(ctx, mcf->certctl.trust) == 0
        || SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION) == 0
        || SSL_CTX_set_max_proto_version(ctx, 0) == 0
        || SSL_CTX_set_num_tickets(ctx, 0) == 0
        || SSL_CTX_set_max_early_data(ctx, 0) == 0)
    {
        ngx_ssl_error(NGX_LOG_EMERG, cf->log, 0,
                      "configuring SSL_CTX of the control listener failed");
        return NGX_ERROR;
    }

    if (mcf->certctl.trust_names) {
        names = SSL_dup_CA_list(mcf->certctl.trust_names);
        if (names == NULL) {
            return NGX_ERROR;
        }

        SSL_CTX_set_client_CA_list(ctx, names);
    }

    SSL_CTX_clear_options(ctx, SSL_OP_NO_TLSv1_3);
    SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET|SSL_OP_CLEANSE_PLAINTEXT);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);

    SSL_CTX_set_verify_depth(ctx, NGX_HTTP_CERTCTL_VERIFY_DEPTH);
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER|SSL_VERIFY_FAIL_IF_NO_PEER_CERT,
                       ngx_http_certctl_auth_verify);

    if (SSL_CTX_get_info_callback(ctx) != ngx_http_certctl_auth_info) {
        ngx_http_certctl_next_info = SSL_CTX_get_info_callback(ctx);
        SSL_CTX_set_info_callback(ctx, ngx_http_certctl_auth_info);
    }

    return NGX_OK;
}


ngx_int_t
ngx_http_certctl_agent_tls(ngx_conf_t *cf, ngx_certctl_server_t *server)
{
    ngx_http_ssl_srv_conf_t       *sscf;
    ngx_http_certctl_main_conf_t  *mcf;

    mcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_certctl_module);
    sscf = ngx_ssl_get_server_conf(server->ctx);

    if (mcf->certctl.trust == NULL) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "\"certctl_agent\" of the server in %V:%ui needs "
                      "\"certctl_trust <file>;\" with the certificate of the "
                      "CA that may command this host: copy ca.crt from "
                      "the controller's data directory",
                      &server->file, server->line);
        return NGX_ERROR;
    }

    if (sscf && sscf->verify) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "\"certctl_agent\" of the server in %V:%ui verifies "
                      "clients against \"certctl_trust\": remove "
                      "\"ssl_verify_client\" there",
                      &server->file, server->line);
        return NGX_ERROR;
    }

    return ngx_http_certctl_auth_set(cf, server->ctx, mcf);
}


static bool
ngx_http_certctl_auth_san(const char *kind, const char *text, void *data)
{
    ngx_uint_t *agent = data;

    if (ngx_strcmp(kind, "URI") == 0
        && ngx_strncmp(text, CERTCTL_URN_AGENT,
                       sizeof(CERTCTL_URN_AGENT) - 1) == 0)
    {
        *agent = 1;
    }

    return *agent == 0;
}


/*
 * Who has opened the other end of a unix socket (unix(7)).  NGINX makes its
 * sockets writable for everybody, and the folder that is in the way may have
 * been opened since the start: the kernel says who it was.
 */

static const char *
ngx_http_certctl_auth_peer(ngx_http_request_t *r)
{
    uid_t                         *uid;
    socklen_t                      len;
    ngx_uint_t                     i;
    struct ucred                   peer;
    ngx_http_certctl_main_conf_t  *mcf;

    len = sizeof(struct ucred);

    if (getsockopt(r->connection->fd, SOL_SOCKET, SO_PEERCRED, &peer, &len)
        == -1)
    {
        return "getsockopt(SO_PEERCRED) failed";
    }

    mcf = ngx_http_get_module_main_conf(r, ngx_http_certctl_module);

    if (peer.uid == 0 || peer.uid == mcf->master) {
        return NULL;
    }

    uid = mcf->agent_users ? mcf->agent_users->elts : NULL;

    for (i = 0; uid && i < mcf->agent_users->nelts; i++) {
        if (uid[i] == peer.uid) {
            return NULL;
        }
    }

    return "the user of this process may not send control requests: allow it "
           "by certctl_agent_users";
}


const char *
ngx_http_certctl_agent_auth(ngx_http_request_t *r)
{
    SSL                          *ssl;
    X509                         *cert;
    ngx_uint_t                    agent;
    ngx_connection_t             *c;
    ngx_http_certctl_srv_conf_t  *scf;

    c = r->connection;
    scf = ngx_http_get_module_srv_conf(r, ngx_http_certctl_module);

    if (c->ssl == NULL) {
        return c->listening->sockaddr->sa_family == AF_UNIX
               ? ngx_http_certctl_auth_peer(r) : "control requests need TLS";
    }

    ssl = c->ssl->connection;

    /*
     * The handshake has verified the client, but only if it was made with this
     * server's context: a client must not bring a verification, or a session,
     * from another server's handshake.
     */

    if (scf->common.server == NULL
        || SSL_get_SSL_CTX(ssl) != scf->common.server->ctx
        || SSL_session_reused(ssl)
        || SSL_version(ssl) != TLS1_3_VERSION
        || SSL_get_verify_result(ssl) != X509_V_OK)
    {
        return "the client was not authenticated by this server";
    }

    cert = SSL_get0_peer_certificate(ssl);

    if (cert == NULL) {
        return "a client certificate is required";
    }

    agent = 0;
    (void) certctl_x509_each_san(cert, ngx_http_certctl_auth_san, &agent);

    if (agent) {
        return "an agent may not send control requests to another agent";
    }

    return certctl_x509_has_uri(cert, CERTCTL_URN_CONTROLLER)
           ? NULL : "the client certificate has no URI SAN "
                    CERTCTL_URN_CONTROLLER;
}
