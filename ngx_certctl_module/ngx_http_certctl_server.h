
/*
 * The servers that the module looks after: ngx_http_certctl_server.c.
 */

#ifndef _NGX_HTTP_CERTCTL_SERVER_H_INCLUDED_
#define _NGX_HTTP_CERTCTL_SERVER_H_INCLUDED_


#include "ngx_http_certctl_module.h"


/* Marks each server that has a TLS listening socket: scf->tls, listens.  Before
   servers are merged; NGX_CONF_ERROR without memory. */
char *ngx_http_certctl_find_listens(ngx_conf_t *cf);

/* Makes the server being merged a complete TLS server: where no certificate
   is configured, the SSL module is given the placeholder. */
char *ngx_http_certctl_complete(ngx_conf_t *cf,
    ngx_http_certctl_main_conf_t *mcf, ngx_http_certctl_srv_conf_t *scf);

/* Fills mcf->servers and takes over their certificate and status callbacks. */
ngx_int_t ngx_http_certctl_init_servers(ngx_conf_t *cf,
    ngx_http_certctl_main_conf_t *mcf);
void ngx_http_certctl_free_servers(ngx_http_certctl_main_conf_t *mcf);

/* The server whose context ssl uses now; NULL when it is not one of ours. */
ngx_http_certctl_server_t *ngx_http_certctl_ssl_server(SSL *ssl);


#endif /* _NGX_HTTP_CERTCTL_SERVER_H_INCLUDED_ */
