
/*
 * TLS sessions that are to be resumed no more: tls/sessions.c.
 */

#ifndef _NGX_CERTCTL_SESSIONS_H_INCLUDED_
#define _NGX_CERTCTL_SESSIONS_H_INCLUDED_


#include "cert/certctl.h"


/*
 * Looks after the sessions of ctx; in the master, once its certificates and
 * client CAs are known.  name stands for the certificate of a server that has
 * none of its own, as a placeholder is another one after each start, and one
 * that variables name is not known yet; and with tickets, of the store's ticket
 * keys, for what another host of a group has in its place.
 */
ngx_int_t ngx_certctl_sessions_add(ngx_conf_t *cf, ngx_certctl_t *certctl,
    SSL_CTX *ctx, const char *protocol, ngx_str_t *name, ngx_uint_t tickets);

/* In the master: what was flushed before this start stays so. */
void ngx_certctl_sessions_start(ngx_certctl_t *certctl, ngx_log_t *log);

/* In a worker that begins, maybe of a master that reads nothing again: another
   binary's may have been told to flush since. */
void ngx_certctl_sessions_begin(ngx_certctl_t *certctl);

/* In a worker: follows the zone's epoch, if it has moved; event loop. */
void ngx_certctl_sessions_look(ngx_certctl_t *certctl);

/* The same, and for a connection that is older than that: before its name and
   its session are looked at. */
void ngx_certctl_sessions_hello(ngx_certctl_t *certctl, SSL *ssl,
    ngx_connection_t *c);

/* Makes epoch the zone's, unless a later one is; any thread. */
void ngx_certctl_sessions_flush(ngx_certctl_zone_t *zone, uint64_t epoch);


#endif /* _NGX_CERTCTL_SESSIONS_H_INCLUDED_ */
