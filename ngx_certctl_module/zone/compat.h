
/*
 * The differences between the NGINX versions we build against, 1.22 to 1.31,
 * and nothing else.
 */

#ifndef _NGX_CERTCTL_COMPAT_H_INCLUDED_
#define _NGX_CERTCTL_COMPAT_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


/* 1.25.0: a listening socket may carry QUIC instead of TLS over TCP. */

#if (nginx_version >= 1025000)
#define ngx_certctl_addr_tls(addr)  ((addr)->opt.ssl || (addr)->opt.quic)
#define ngx_certctl_conf_tls(conf)  ((conf)->ssl || (conf)->quic)
#else
#define ngx_certctl_addr_tls(addr)  ((addr)->opt.ssl)
#define ngx_certctl_conf_tls(conf)  ((conf)->ssl)
#endif

/* ... and a handshake is QUIC's where the socket is: c->quic is set for the
   streams only, which come after it. */

#if (nginx_version >= 1025000)
#define ngx_certctl_is_quic(c)  ((c)->listening && (c)->listening->quic)
#else
#define ngx_certctl_is_quic(c)  0
#endif


/* 1.29.2: NGINX finds the server of a name in its own ClientHello callback,
   which finds its argument by itself; it must run whenever ours has nothing.
   Earlier ones find it in a servername callback. */

#if (nginx_version >= 1029002)
#define ngx_certctl_client_hello(ssl, al)                                     \
    ngx_ssl_client_hello_callback(ssl, al, NULL)
#else
#define NGX_CERTCTL_SERVERNAME  1
#define ngx_certctl_client_hello(ssl, al)  SSL_CLIENT_HELLO_SUCCESS
#endif


/* 1.25.5: stream has virtual servers with names, ssl_reject_handshake, and a
   configuration of the SSL module that is called as in http. */

#if (nginx_version >= 1025005)
#define NGX_CERTCTL_STREAM_NAMES  1
#define ngx_certctl_stream_ssl_t  ngx_stream_ssl_srv_conf_t
#define ngx_certctl_stream_rejects(conf, prev)                                \
    (ngx_certctl_inherited(conf, prev, reject_handshake, NGX_CONF_UNSET) == 1)
#else
#define ngx_certctl_stream_ssl_t  ngx_stream_ssl_conf_t
#define ngx_certctl_stream_rejects(conf, prev)  0
#endif


/* The value that a directive has once the server is merged. */

#define ngx_certctl_inherited(conf, prev, name, unset)                        \
    ((conf)->name == (unset) ? (prev)->name : (conf)->name)


/* 1.27.2: ssl_verify_client needs no more than ssl_trusted_certificate, and
   stream has ssl_stapling. */

#if (nginx_version >= 1027002)
#define ngx_certctl_client_ca(conf)                                           \
    ((conf)->client_certificate.len + (conf)->trusted_certificate.len)
#define ngx_certctl_stream_no_stapling(conf)  (conf)->stapling = 0
#else
#define ngx_certctl_client_ca(conf)  (conf)->client_certificate.len
#define ngx_certctl_stream_no_stapling(conf)
#endif


/* 1.27.4: what ssl_certificate with variables names may come from a cache. */

#if (nginx_version >= 1027004)
#define ngx_certctl_connection_certificate(c, cert, key, conf)                \
    ngx_ssl_connection_certificate(c, (c)->pool, cert, key,                   \
                                   (conf)->certificate_cache,                 \
                                   (conf)->passwords)
#else
#define ngx_certctl_connection_certificate(c, cert, key, conf)                \
    ngx_ssl_connection_certificate(c, (c)->pool, cert, key,                   \
                                   (conf)->passwords)
#endif


/* 1.29.1: "ssl_certificate_compression", which is off in a context that has
   SSL_OP_NO_TX_CERTIFICATE_COMPRESSION; with OpenSSL from 3.2 on. */

#if (nginx_version >= 1029001 && defined(SSL_OP_NO_TX_CERTIFICATE_COMPRESSION) \
     && !defined(OPENSSL_NO_COMP_ALG))
#define NGX_CERTCTL_COMPRESSION  1
#endif


#endif /* _NGX_CERTCTL_COMPAT_H_INCLUDED_ */
