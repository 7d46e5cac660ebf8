
/*
 * The addresses where clients of TLS connect, with NGINX's own tables of server
 * names: tls/address.c.
 */

#ifndef _NGX_CERTCTL_ADDRESS_H_INCLUDED_
#define _NGX_CERTCTL_ADDRESS_H_INCLUDED_


#include "cert/certctl.h"


typedef struct {
    SSL_CTX              *ctx;              /* of the default server, or NULL */
    ngx_hash_combined_t  *names;            /* NULL: no names are looked up */
    ngx_array_t           regexes;          /* see tls/address.c */

    /* of a server that names leads to, or NULL */
    SSL_CTX            *(*server_ctx)(void *server);
} ngx_certctl_address_t;


/*
 * One more address where TLS is spoken, with the context of its default server,
 * or NULL.  NULL without memory.  Called when NGINX has made its tables, that is
 * after all modules' postconfiguration.
 */
ngx_certctl_address_t *ngx_certctl_address_add(ngx_cycle_t *cycle,
    ngx_certctl_t *certctl, SSL_CTX *ctx);

/* Adds an expression (ngx_regex_t) of an address, in NGINX's order, and the
   context of its server. */
ngx_int_t ngx_certctl_address_regex(ngx_certctl_address_t *address,
    void *regex, SSL_CTX *ctx);

/* Once all addresses are known: finds which names lead to their servers. */
ngx_int_t ngx_certctl_address_names(ngx_certctl_t *certctl, ngx_log_t *log);

/*
 * The server whose certificate NGINX gives a client of address that sends name,
 * in lower case; NULL when certctl is off for it.  "*.example.com" is any host
 * of that domain without a name of its own.  Any thread.
 */
ngx_certctl_server_t *ngx_certctl_address_server(
    ngx_certctl_address_t *address, ngx_str_t *name);


#endif /* _NGX_CERTCTL_ADDRESS_H_INCLUDED_ */
