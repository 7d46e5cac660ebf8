
/*
 * Session ticket keys of the store: tls/ticket_keys.c.
 */

#ifndef _NGX_CERTCTL_TICKET_KEYS_H_INCLUDED_
#define _NGX_CERTCTL_TICKET_KEYS_H_INCLUDED_


#include "cert/certctl.h"


/*
 * In the master, for each TLS server's context: with on set its tickets are
 * encrypted with the store's keys; else it may become the context of a
 * connection whose tickets are.  NGX_ERROR with OpenSSL's error.
 */
ngx_int_t ngx_certctl_ticket_keys_set_callback(ngx_certctl_t *certctl,
    SSL_CTX *ctx, ngx_uint_t on);

/* In a worker: reads the keys when they have changed, or after a minute, as
   another binary's workers may have written them; event loop. */
void ngx_certctl_ticket_keys_update(ngx_certctl_t *certctl);

/* Makes the first key, or the next one where it is due, and changes the zone's
   counter; with fresh it replaces all keys of this host.  May wait for the
   disk: in the master, or on a thread.  Logs a failure. */
void ngx_certctl_ticket_keys_rotate(ngx_certctl_t *certctl, ngx_uint_t fresh,
    ngx_log_t *log);

/* Wipes this process's copy. */
void ngx_certctl_ticket_keys_free(ngx_certctl_t *certctl);


#endif /* _NGX_CERTCTL_TICKET_KEYS_H_INCLUDED_ */
