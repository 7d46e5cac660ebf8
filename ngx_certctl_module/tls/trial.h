
/*
 * Trial handshakes before a certificate is stored.
 */

#ifndef _NGX_CERTCTL_TRIAL_H_INCLUDED_
#define _NGX_CERTCTL_TRIAL_H_INCLUDED_


#include "cert/certctl.h"
#include "x509_accept.h"


/* tls/hello.c */

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


/* tls/trial.c */

/*
 * NULL when at least one of the servers for which record name would be selected
 * can complete handshakes with chain and key (DER), or there is none; then
 * *warning is NULL, or says which clients or servers cannot.  Else the rule.
 * Both are certctl_rule()'s.  On a thread.
 */
const char *ngx_certctl_trial(ngx_certctl_t *certctl, const char *name,
    const struct certctl_accepted *chain, certctl_blob_t *key,
    const char **warning);


#endif /* _NGX_CERTCTL_TRIAL_H_INCLUDED_ */
