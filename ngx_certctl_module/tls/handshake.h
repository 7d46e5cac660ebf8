
/*
 * What happens to a certificate in a handshake: tls/handshake.c.
 */

#ifndef _NGX_CERTCTL_HANDSHAKE_H_INCLUDED_
#define _NGX_CERTCTL_HANDSHAKE_H_INCLUDED_


#include "cert/certctl.h"


/* Replaces the certificate and status callbacks of server->ctx.  NGX_ERROR with
   OpenSSL's error. */
ngx_int_t ngx_certctl_set_callbacks(ngx_certctl_server_t *server);

/* The server name of ssl, once OpenSSL has read it; "" without. */
void ngx_certctl_sni(SSL *ssl, ngx_str_t *name);

/*
 * To be called when NGINX has selected the server of the SNI name.  Without
 * ssl_certificate and a stored certificate for the name, the connection goes
 * back to the context of the default server of the address, as it would be
 * without certctl.
 */
void ngx_certctl_use_default(SSL *ssl, ngx_str_t *sni);

/*
 * The certificate that the handshake of ssl has sent, or is about to send.
 * NULL if it is another (ssl_certificate with variables).
 */
ngx_certctl_cert_t *ngx_certctl_sent(SSL *ssl,
    ngx_certctl_server_t *server);

/*
 * The same for a connection that is established.  A resumed session has sent
 * none: then the one that a full handshake would choose now.
 */
ngx_certctl_cert_t *ngx_certctl_served(SSL *ssl,
    ngx_certctl_server_t *server);


/* tls/client.c */

/* Whether the client of this handshake, whose ClientHello was read, can do it
   with cert: as OpenSSL judges it for TLS 1.3 and 1.2, by signature algorithms,
   curves and cipher suites that the server's configuration allows. */
ngx_uint_t ngx_certctl_client_supports(SSL *ssl, ngx_certctl_cert_t *cert);


/* tls/staple.c */

/* The status callback of each server's context; arg is the server. */
int ngx_certctl_status_cb(SSL *ssl, void *arg);


/* tls/compress.c */

#if (NGX_CERTCTL_COMPRESSION)

/*
 * Before certificates are set: a client that is to get a staple of one of the
 * choice gets no compressed certificate, as the staple is a part of it.
 */
void ngx_certctl_compress_unless_stapled(SSL *ssl, ngx_certctl_t *certctl,
    ngx_certctl_choice_t *choice);

/* The certificate that ssl was given last: its compressed forms, which are made
   the first time. */
void ngx_certctl_compress(SSL *ssl, ngx_certctl_cert_t *cert);

#else

#define ngx_certctl_compress_unless_stapled(ssl, certctl, choice)
#define ngx_certctl_compress(ssl, cert)

#endif


#endif /* _NGX_CERTCTL_HANDSHAKE_H_INCLUDED_ */
