
/*
 * What a client supports: tls/client.c.
 */

#ifndef _NGX_CERTCTL_CLIENT_H_INCLUDED_
#define _NGX_CERTCTL_CLIENT_H_INCLUDED_


#include "cert/certctl.h"


/* Whether the client of this handshake, whose ClientHello was read, can do it
   with cert: as OpenSSL judges it for TLS 1.3 and 1.2, by signature algorithms,
   curves and cipher suites that the server's configuration allows. */
ngx_uint_t ngx_certctl_client_supports(SSL *ssl, ngx_certctl_cert_t *cert);


#endif /* _NGX_CERTCTL_CLIENT_H_INCLUDED_ */
