
/*
 * What a client can verify: tls/client.c.
 */

#ifndef _NGX_CERTCTL_CLIENT_H_INCLUDED_
#define _NGX_CERTCTL_CLIENT_H_INCLUDED_


#include "cert/certctl.h"


/* Whether the client of this handshake, whose hello was read, accepts a
   signature by cert's key (RFC 8446 4.2.3), and in TLS 1.2 has a cipher suite
   for it; both among those that the server may use. */
ngx_uint_t ngx_certctl_client_knows(SSL *ssl,
    ngx_certctl_cert_t *cert);


#endif /* _NGX_CERTCTL_CLIENT_H_INCLUDED_ */
