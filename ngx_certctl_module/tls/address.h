
/*
 * The addresses where clients of TLS connect, with NGINX's own tables of server
 * names: tls/address.c.
 */

#ifndef _NGX_CERTCTL_ADDRESS_H_INCLUDED_
#define _NGX_CERTCTL_ADDRESS_H_INCLUDED_


#include "cert/certctl.h"


typedef struct {
    void                 *regex;            /* ngx_regex_t */
    SSL_CTX              *ctx;              /* NULL: its server has none */
} ngx_certctl_address_regex_t;


typedef struct {
    SSL_CTX              *ctx;              /* of the default server, or NULL */
    ngx_hash_combined_t  *names;            /* NULL: no names are looked up */
    ngx_array_t           regexes;          /* ngx_certctl_address_regex_t */

    /* of a server that names leads to, or NULL */
    SSL_CTX            *(*server_ctx)(void *server);
} ngx_certctl_address_t;


/* One more address, zeroed but for its empty regexes; NULL without memory.
   Called when NGINX has made its tables, that is after all modules'
   postconfiguration. */
ngx_certctl_address_t *ngx_certctl_address_add(ngx_cycle_t *cycle,
    ngx_certctl_t *certctl);

/*
 * The server whose certificate NGINX gives a client of address that sends name,
 * in lower case; NULL when certctl is off for it.  "*.example.com" is any host
 * of that domain without a name of its own.  Any thread.
 */
ngx_certctl_server_t *ngx_certctl_address_server(
    ngx_certctl_address_t *address, ngx_str_t *name);

/*
 * Whether a client of any address that sends no SNI gets the certificate with
 * this SHA-256.  The records are looked up in certctl's cache.
 */
ngx_uint_t ngx_certctl_address_serves(ngx_certctl_t *certctl,
    const u_char *digest);


#endif /* _NGX_CERTCTL_ADDRESS_H_INCLUDED_ */
