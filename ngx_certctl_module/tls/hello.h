
/*
 * What the SSL_CTXs of servers allow, as a client's hello: tls/hello.c.
 */

#ifndef _NGX_CERTCTL_HELLO_H_INCLUDED_
#define _NGX_CERTCTL_HELLO_H_INCLUDED_


#include "cert/certctl.h"


/* Different settings that are kept; servers with others are not tried. */
#define NGX_CERTCTL_SETTINGS_MAX   64
#define NGX_CERTCTL_SETTINGS_NONE  ((ngx_uint_t) -1)


/* Clients that know all that the server does, and no other version. */

typedef enum {
    NGX_CERTCTL_HELLO_TLS13 = 0,
    NGX_CERTCTL_HELLO_TLS12,                /* or below */
    NGX_CERTCTL_HELLO_RSA,                  /* ... with RSA key exchange only */
    NGX_CERTCTL_HELLOS
} ngx_certctl_hello_e;


/* Of all servers whose SSL_CTXs allow the same. */

typedef struct {
    ngx_certctl_server_t  *server;          /* the first of them */
    int                    level;           /* SSL_CTX_get_security_level() */
    ngx_str_t              hello[NGX_CERTCTL_HELLOS];   /* "": it has none */
} ngx_certctl_settings_t;


/*
 * Fills certctl->settings in a worker that has no threads yet.  Threads work
 * with what is kept here, and never with NGINX's contexts, which NGINX may
 * change at any time.
 */
ngx_int_t ngx_certctl_hello_init(ngx_certctl_t *certctl, ngx_pool_t *pool);


#endif /* _NGX_CERTCTL_HELLO_H_INCLUDED_ */
