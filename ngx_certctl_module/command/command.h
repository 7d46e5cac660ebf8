
/*
 * The control requests that change something, a file each.
 */

#ifndef _NGX_CERTCTL_COMMAND_H_INCLUDED_
#define _NGX_CERTCTL_COMMAND_H_INCLUDED_


#include "call/call.h"


/* Each runs on a thread; that of a path with PUT and DELETE does both. */

void ngx_http_certctl_request_csr(ngx_http_certctl_call_t *call);
void ngx_http_certctl_request_put(ngx_http_certctl_call_t *call);
void ngx_http_certctl_request_bulk(ngx_http_certctl_call_t *call);
void ngx_http_certctl_request_rollback(ngx_http_certctl_call_t *call);
void ngx_http_certctl_request_delete(ngx_http_certctl_call_t *call);
void ngx_http_certctl_request_ocsp(ngx_http_certctl_call_t *call);
void ngx_http_certctl_request_flush(ngx_http_certctl_call_t *call);
void ngx_http_certctl_request_put_ticket_keys(ngx_http_certctl_call_t *call);
void ngx_http_certctl_request_put_trust(ngx_http_certctl_call_t *call);
void ngx_http_certctl_request_http01(ngx_http_certctl_call_t *call);
void ngx_http_certctl_request_tlsalpn(ngx_http_certctl_call_t *call);

/* On the event loop, before the body is read. */

/* Counts bulk requests: 503 beyond those that a worker may have. */
void ngx_http_certctl_bulk_before(ngx_http_certctl_call_t *call);

/* 403 for the control listener's identity. */
void ngx_http_certctl_identity_before(ngx_http_certctl_call_t *call);


/* command/rotate_ticket_keys.c: in a worker that starts, event loop */

void ngx_http_certctl_ticket_keys_worker(ngx_cycle_t *cycle,
    ngx_http_certctl_main_conf_t *mcf);


/* command/change.c: what several requests share */

/* The private key of a record, to be freed; or NULL and an error answered, for
   no such record 409 with missing.  Without missing nothing is answered. */
EVP_PKEY *ngx_http_certctl_record_key(ngx_http_certctl_call_t *call,
    const char *name, const char *missing);

/* The members of a record: name, generation, fingerprint, not_after; sets
   fingerprint. */
void ngx_http_certctl_record_members(ngx_http_certctl_json_t *json,
    const char *name, const struct certctl_leaf *leaf, uint64_t generation,
    char *fingerprint);


#endif /* _NGX_CERTCTL_COMMAND_H_INCLUDED_ */
