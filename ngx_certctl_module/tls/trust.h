
/*
 * Who may command this host: tls/trust.c.
 */

#ifndef _NGX_CERTCTL_TRUST_H_INCLUDED_
#define _NGX_CERTCTL_TRUST_H_INCLUDED_


#include "cert/certctl.h"


/* CAs that a controller sends at once, at most. */
#define NGX_CERTCTL_TRUST_MAX  8


/* During configuration: reads the file of certctl_trust, unless its name is
   empty.  NGX_ERROR after logging why. */
ngx_int_t ngx_certctl_trust_load(ngx_certctl_t *certctl, ngx_str_t *file,
    ngx_log_t *log);
void ngx_certctl_trust_free(ngx_certctl_t *certctl);

/* In a worker: reads the CAs that controllers have sent when they have changed,
   or after a minute, as another binary's workers may have written them; event
   loop. */
void ngx_certctl_trust_update(ngx_certctl_t *certctl);

/* In a handshake of the control listener, before it asks for the client's
   certificate: that is verified by what is trusted now. */
void ngx_certctl_trust_use(ngx_certctl_t *certctl, SSL *ssl);

/*
 * Of the file and of the store, to be freed; on any thread.  *ret is NULL
 * without certctl_trust, and when there is no memory.  A code of the store, for
 * the set that was sent: unless it is OK, *ret has the file's CAs alone.
 */
int ngx_certctl_trust_all(ngx_certctl_t *certctl, X509_STORE **ret);

/* Calls fn with the fingerprint of each CA of store. */
void ngx_certctl_trust_each(X509_STORE *store,
    void (*fn)(const char *fingerprint, void *data), void *data);


#endif /* _NGX_CERTCTL_TRUST_H_INCLUDED_ */
