
/*
 * Flushed TLS sessions: tls/sessions.c.
 */

#ifndef _NGX_CERTCTL_SESSIONS_H_INCLUDED_
#define _NGX_CERTCTL_SESSIONS_H_INCLUDED_


#include "cert/certctl.h"


/*
 * Adds ctx to the contexts whose sessions are flushed; in the master, once its
 * certificates and client CAs are known.  A name replaces the certificates in
 * its identity: a placeholder differs after each start, a certificate of
 * variables is not known yet, and with tickets (of the store's ticket keys)
 * other hosts of a group have other certificates.
 */
ngx_int_t ngx_certctl_sessions_add(ngx_conf_t *cf, ngx_certctl_t *certctl,
    SSL_CTX *ctx, const char *protocol, ngx_str_t *name, ngx_uint_t tickets);

/* In the master: reads the epoch of the last flush.  In a new worker again,
   without a log, as a worker of another binary may have flushed since; then a
   failure changes nothing. */
void ngx_certctl_sessions_init(ngx_certctl_t *certctl, ngx_log_t *log);

/* In a worker: applies the zone's epoch if it has changed; event loop. */
void ngx_certctl_sessions_update(ngx_certctl_t *certctl);

/* The same, and for a connection that is older than the flush; before OpenSSL
   reads its name and session. */
void ngx_certctl_sessions_check(ngx_certctl_t *certctl, SSL *ssl,
    ngx_connection_t *c);

/* Sets the zone's epoch, unless it is later; any thread. */
void ngx_certctl_sessions_flush(ngx_certctl_zone_t *zone, uint64_t epoch);


#endif /* _NGX_CERTCTL_SESSIONS_H_INCLUDED_ */
