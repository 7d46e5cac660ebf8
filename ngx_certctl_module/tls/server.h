
/*
 * TLS servers that certctl is on for: tls/server.c.
 */

#ifndef _NGX_CERTCTL_SERVER_H_INCLUDED_
#define _NGX_CERTCTL_SERVER_H_INCLUDED_


#include "cert/certctl.h"
#include "tls/conf.h"


/* Of http's and of stream's server names. */

#if (NGX_PCRE)
#define ngx_certctl_is_regex(sn)  ((sn)->regex != NULL)
#else
#define ngx_certctl_is_regex(sn)  0
#endif


/* A server{} of http{} or stream{} whose SSL module has merged it. */

typedef struct {
    ngx_certctl_srv_conf_t     *conf;
    ngx_certctl_server_t        server;     /* ctx, NULL without TLS; protocol,
                                               file, line, commands, agent and
                                               reject; cert_cb and cert_arg of
                                               ssl_certificate with variables */
    ngx_array_t                *certificates;   /* ssl_certificate, or NULL */
    ngx_array_t                *ticket_files;   /* ssl_session_ticket_key */
    ngx_flag_t                  tickets;        /* ssl_session_tickets */

    /* instead of certificates in the identity of sessions: where they are not
       known, and with the store's ticket keys */
    ngx_str_t                  *name;
    ngx_str_t                  *ticket_name;

    /* closes a connection whose handshake has failed; NULL where no challenge
       is answered */
    ngx_connection_handler_pt   close;
} ngx_certctl_block_t;


/* What http's and stream's modules have by the same names. */

#define ngx_certctl_block_init(block, core, ssl_conf, variables_cb)           \
    ngx_memzero(block, sizeof(ngx_certctl_block_t));                          \
    (block)->server.ctx = (ssl_conf)->ssl.ctx;                                \
    (block)->server.file.data = (core)->file_name;                            \
    (block)->server.file.len = ngx_strlen((core)->file_name);                 \
    (block)->server.line = (core)->line;                                      \
    (block)->server.commands = (ssl_conf)->conf_commands;                     \
    (block)->certificates = (ssl_conf)->certificates;                         \
    (block)->ticket_files = (ssl_conf)->session_ticket_keys;                  \
    (block)->tickets = (ssl_conf)->session_tickets;                           \
                                                                              \
    if ((ssl_conf)->certificate_values) {                                     \
        (block)->server.cert_cb = variables_cb;                               \
        (block)->server.cert_arg = ssl_conf;                                  \
    }


/*
 * Sets the callbacks of the block's context, and adds its server if certctl is
 * on for it: block->conf->server.  NGX_ERROR after logging why.
 */
ngx_int_t ngx_certctl_server_add(ngx_conf_t *cf, ngx_certctl_t *certctl,
    ngx_certctl_block_t *block);

/*
 * Adds a copy of name to server, unless server is NULL or name "".  With regex
 * set, "~" is put before it, which NGINX leaves out.
 */
ngx_int_t ngx_certctl_server_name(ngx_conf_t *cf, ngx_certctl_server_t *server,
    ngx_str_t *name, ngx_uint_t regex);

/* Once all servers are added: fills in the default servers that serve the
   clients of conf's server while it has no certificate. */
ngx_int_t ngx_certctl_server_default(ngx_conf_t *cf,
    ngx_certctl_srv_conf_t *conf);

/* At the end of the configuration's life. */
void ngx_certctl_servers_free(ngx_certctl_t *certctl);

/* The server with this context; NULL when it is not one of ours. */
ngx_certctl_server_t *ngx_certctl_ctx_server(SSL_CTX *ctx);

/* The server whose context ssl uses now; NULL when it is not one of ours. */
ngx_certctl_server_t *ngx_certctl_ssl_server(SSL *ssl);


#endif /* _NGX_CERTCTL_SERVER_H_INCLUDED_ */
