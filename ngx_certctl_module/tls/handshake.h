
/*
 * What happens to a certificate in a handshake: tls/handshake.c.
 */

#ifndef _NGX_CERTCTL_HANDSHAKE_H_INCLUDED_
#define _NGX_CERTCTL_HANDSHAKE_H_INCLUDED_


#include "cert/certctl.h"


/* Once per process and configuration; NGX_ERROR with OpenSSL's error. */
ngx_int_t ngx_certctl_init_handshake(void);

/* Replaces the certificate and status callbacks of server->ctx. */
void ngx_certctl_set_callbacks(ngx_certctl_server_t *server);

/* The server name of ssl, once OpenSSL has read it; "" without. */
void ngx_certctl_sni(SSL *ssl, ngx_str_t *name);

/*
 * Before the certificate callback, once NGINX has found the server of the name
 * in sni; it may be NULL.  One that has no ssl_certificate, and nothing stored
 * for the name, leaves the connection to the default server of the address, with
 * all settings of TLS, as NGINX does without certctl.
 */
void ngx_certctl_use_default(SSL *ssl, ngx_certctl_server_t *server,
    ngx_str_t *sni);

/*
 * The certificate that the handshake of ssl has sent, or is about to send.
 * NULL when it is none that we know (ssl_certificate with variables).
 */
ngx_certctl_cert_t *ngx_certctl_sent(SSL *ssl,
    ngx_certctl_server_t *server);

/*
 * The same for a connection that is established.  A resumed session has sent
 * none: then the one that a full handshake would choose now.
 */
ngx_certctl_cert_t *ngx_certctl_served(SSL *ssl,
    ngx_certctl_server_t *server);


#endif /* _NGX_CERTCTL_HANDSHAKE_H_INCLUDED_ */
