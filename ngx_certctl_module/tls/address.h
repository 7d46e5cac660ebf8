
/*
 * The addresses where clients of TLS connect, with NGINX's own tables of server
 * names: tls/address.c.
 */

#ifndef _NGX_CERTCTL_ADDRESS_H_INCLUDED_
#define _NGX_CERTCTL_ADDRESS_H_INCLUDED_


#include "cert/certctl.h"


/*
 * The context of the server that NGINX finds at an address for name, or of its
 * default server; host is what regular expressions are matched with.  NULL
 * without a context.  Any thread.
 */
typedef SSL_CTX *(*ngx_certctl_find_ctx_pt)(void *conf, ngx_str_t *name,
    ngx_str_t *host);


typedef struct {
    void                     *conf;         /* http's or stream's addr_conf */
    ngx_certctl_find_ctx_pt   find_ctx;
} ngx_certctl_address_t;


/* One more address where TLS is spoken, when NGINX has made its tables, that is
   after all modules' postconfiguration. */
ngx_int_t ngx_certctl_address_add(ngx_cycle_t *cycle, ngx_certctl_t *certctl,
    void *conf, ngx_certctl_find_ctx_pt find_ctx);

/* Once all addresses are known: finds which names lead to their servers. */
ngx_int_t ngx_certctl_address_names(ngx_certctl_t *certctl, ngx_log_t *log);

/*
 * The server whose certificate NGINX gives a client of address that sends name,
 * in lower case; NULL when certctl is off for it.  "*.example.com" is any host
 * of that domain without a name of its own.  Any thread.
 */
ngx_certctl_server_t *ngx_certctl_address_server(
    ngx_certctl_address_t *address, ngx_str_t *name);

/* Whether host matches an ngx_regex_t: on any thread, as ngx_regex_exec(),
   which has one buffer for all, is for the event loop alone. */
ngx_uint_t ngx_certctl_regex_matches(void *regex, ngx_str_t *host);

/*
 * Whether a client of any address that sends no SNI gets the certificate with
 * this SHA-256.  The records are looked up in certctl's cache.
 */
ngx_uint_t ngx_certctl_address_serves(ngx_certctl_t *certctl,
    const u_char *digest);


#endif /* _NGX_CERTCTL_ADDRESS_H_INCLUDED_ */
