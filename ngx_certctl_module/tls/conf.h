
/*
 * What http{} and stream{} say alike about directives: tls/conf.c.
 */

#ifndef _NGX_CERTCTL_CONF_H_INCLUDED_
#define _NGX_CERTCTL_CONF_H_INCLUDED_


#include "cert/certctl.h"


/* Of a server, or of the block around it. */

typedef struct ngx_certctl_srv_conf_s  ngx_certctl_srv_conf_t;

struct ngx_certctl_srv_conf_s {
    ngx_flag_t    enable;
    ngx_str_t     certificate;              /* pinned */
    ngx_flag_t    challenge;
    ngx_flag_t    ticket_keys;

    unsigned      own_ticket_keys:1;        /* "on" in the server itself */

    /* found in the listening sockets before merging */
    unsigned      tls:1;
    unsigned      placeholder:1;
    unsigned      first:1;                  /* the default one of an address */
    unsigned      incomplete:1;             /* cannot be a TLS server */
    ngx_array_t  *listens;                  /* ngx_str_t */
    ngx_array_t  *defaults;                 /* ngx_certctl_srv_conf_t *: whose
                                               server is each one's default */

    /* known when servers are merged */
    ngx_certctl_server_t   *server;         /* NULL when we do nothing here */
    ngx_certctl_context_t   context;        /* without certctl; its ctx is NULL
                                               without ssl_certificate */
    ngx_array_t            *expressions;    /* see ngx_certctl_server_t */
    ngx_array_t            *certs;          /* of context.ctx, while certctl is
                                               off; NULL: not read yet */
};


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


/* Every directive, before the configuration is read. */

#define ngx_certctl_conf_unset(conf)                                          \
    (conf)->enable = NGX_CONF_UNSET;                                          \
    (conf)->challenge = NGX_CONF_UNSET;                                       \
    (conf)->ticket_keys = NGX_CONF_UNSET


/* For a directive that takes the name of a record, into an ngx_str_t. */
char *ngx_certctl_set_name_slot(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);

/*
 * Before servers are merged: conf's listens on addr with TLS, and by_default's
 * is the default server there.
 */
ngx_int_t ngx_certctl_conf_listen(ngx_conf_t *cf, ngx_certctl_srv_conf_t *conf,
    ngx_str_t *addr, ngx_certctl_srv_conf_t *by_default);

/*
 * Refuses certctl_certificate where certctl is off, and warns of certctl where
 * there is no TLS, in the server of that file and line.
 */
char *ngx_certctl_conf_merge(ngx_conf_t *cf, ngx_certctl_srv_conf_t *prev,
    ngx_certctl_srv_conf_t *conf, u_char *file, ngx_uint_t line);

/*
 * Whether NGINX would refuse the server being merged as a TLS server, because
 * it verifies clients without a CA: verify is ssl_verify_client, ca the length
 * of the names of files with CAs.  Logs a warning if so.
 */
ngx_uint_t ngx_certctl_conf_incomplete(ngx_conf_t *cf,
    ngx_certctl_srv_conf_t *conf, ngx_uint_t verify, size_t ca, u_char *file,
    ngx_uint_t line);

/*
 * Makes the server being merged a complete TLS server: where no certificate is
 * configured, here or in the block around (inherited), the SSL module, which
 * has merged neither yet, gets the placeholder.
 */
char *ngx_certctl_conf_complete(ngx_conf_t *cf, ngx_certctl_srv_conf_t *conf,
    ngx_array_t *inherited, ngx_array_t **certificates, ngx_array_t **keys);

/*
 * Whether the tickets of the server are encrypted with the store's keys.
 * Refuses ssl_session_ticket_key beside them, and warns where
 * certctl_ticket_keys has no effect.
 */
ngx_int_t ngx_certctl_conf_ticket_keys(ngx_conf_t *cf,
    ngx_certctl_block_t *block, ngx_uint_t *on);


#endif /* _NGX_CERTCTL_CONF_H_INCLUDED_ */
