
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
    unsigned      shared:1;                 /* an address, with others */
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


/* For a directive that takes the name of a record, into an ngx_str_t. */
char *ngx_certctl_set_name_slot(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);

/*
 * Before servers are merged: conf's listens on addr with TLS, one of n there,
 * of which by_default's is the default server.
 */
ngx_int_t ngx_certctl_conf_listen(ngx_conf_t *cf, ngx_certctl_srv_conf_t *conf,
    ngx_str_t *addr, ngx_uint_t n, ngx_certctl_srv_conf_t *by_default);

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
 * Once the SSL module has merged the server: whether its tickets are encrypted
 * with the store's keys.  Refuses ssl_session_ticket_key (files) beside them,
 * and warns where certctl_ticket_keys has no effect.
 */
ngx_int_t ngx_certctl_conf_ticket_keys(ngx_conf_t *cf,
    ngx_certctl_srv_conf_t *conf, ngx_array_t *files, ngx_flag_t tickets,
    u_char *file, ngx_uint_t line, ngx_uint_t *on);


#endif /* _NGX_CERTCTL_CONF_H_INCLUDED_ */
