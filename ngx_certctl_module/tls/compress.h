
/*
 * Compressed certificates (RFC 8879): tls/compress.c.
 */

#ifndef _NGX_CERTCTL_COMPRESS_H_INCLUDED_
#define _NGX_CERTCTL_COMPRESS_H_INCLUDED_


#include "cert/certctl.h"


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


#endif /* _NGX_CERTCTL_COMPRESS_H_INCLUDED_ */
