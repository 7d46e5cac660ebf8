
/*
 * Directives and variables that http{} and stream{} have alike: tls/conf.c.
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


/* tls/value.c: variables */

typedef struct {
    ngx_str_t    name;                      /* of the variable */
    void       (*print)(ngx_certctl_t *certctl, ngx_certctl_cert_t *cert,
                        ngx_str_t *value);
} ngx_certctl_value_t;


/* The last one has an empty name. */
extern ngx_certctl_value_t  ngx_certctl_values[];

/*
 * The value for c, in pool; not found outside TLS and where certctl is off.
 * NGX_ERROR without memory.
 */
ngx_int_t ngx_certctl_value_get(ngx_certctl_value_t *value,
    ngx_connection_t *c, ngx_pool_t *pool, ngx_variable_value_t *v);


#endif /* _NGX_CERTCTL_CONF_H_INCLUDED_ */
