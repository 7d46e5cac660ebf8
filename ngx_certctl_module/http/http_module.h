
/*
 * What the HTTP module's own files share.
 */

#ifndef _NGX_HTTP_CERTCTL_MODULE_H_INCLUDED_
#define _NGX_HTTP_CERTCTL_MODULE_H_INCLUDED_


#include "call/main_conf.h"


/* http/start.c */

/*
 * For postconfiguration: loads certctl_trust, takes over the servers, and
 * arranges for the zone, which opens the store.  NGX_ERROR after logging why.
 */
ngx_int_t ngx_http_certctl_start(ngx_conf_t *cf,
    ngx_http_certctl_main_conf_t *mcf);


/* http/http_server.c */

/* Marks each server that has a TLS listening socket: scf->tls, listens.  Before
   servers are merged; NGX_CONF_ERROR without memory. */
char *ngx_http_certctl_find_listens(ngx_conf_t *cf);

/* Makes the server being merged a complete TLS server: where no certificate
   is configured, it is the placeholder. */
char *ngx_http_certctl_complete(ngx_conf_t *cf,
    ngx_http_certctl_main_conf_t *mcf, ngx_http_certctl_srv_conf_t *scf);

/* Adds the servers that certctl is on for, and the control listener. */
ngx_int_t ngx_http_certctl_init_servers(ngx_conf_t *cf,
    ngx_certctl_t *certctl);


/* http/http_addresses.c */

/* Adds the addresses of http{}, once NGINX listens on them. */
ngx_int_t ngx_http_certctl_add_addresses(ngx_cycle_t *cycle,
    ngx_certctl_t *certctl);


/* http/http01.c */

/* For postconfiguration: answers challenges where certctl_challenge is on. */
ngx_int_t ngx_http_certctl_init_http01(ngx_conf_t *cf);


#endif /* _NGX_HTTP_CERTCTL_MODULE_H_INCLUDED_ */
