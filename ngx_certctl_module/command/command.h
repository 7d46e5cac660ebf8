
/*
 * The control requests that change something, a file each.
 */

#ifndef _NGX_CERTCTL_COMMAND_H_INCLUDED_
#define _NGX_CERTCTL_COMMAND_H_INCLUDED_


#include "call/call.h"


typedef struct ngx_http_certctl_put_s  ngx_http_certctl_put_t;


/* Each runs on a thread. */

void ngx_http_certctl_request_csr(ngx_http_certctl_call_t *call);
void ngx_http_certctl_request_put(ngx_http_certctl_call_t *call);
void ngx_http_certctl_request_bulk(ngx_http_certctl_call_t *call);
void ngx_http_certctl_request_rollback(ngx_http_certctl_call_t *call);
void ngx_http_certctl_request_delete(ngx_http_certctl_call_t *call);
void ngx_http_certctl_request_ocsp(ngx_http_certctl_call_t *call);
void ngx_http_certctl_request_delete_ocsp(ngx_http_certctl_call_t *call);
void ngx_http_certctl_request_flush(ngx_http_certctl_call_t *call);
void ngx_http_certctl_request_put_ticket_keys(ngx_http_certctl_call_t *call);
void ngx_http_certctl_request_put_http01(ngx_http_certctl_call_t *call);
void ngx_http_certctl_request_put_tlsalpn(ngx_http_certctl_call_t *call);
void ngx_http_certctl_request_delete_http01(ngx_http_certctl_call_t *call);
void ngx_http_certctl_request_delete_tlsalpn(ngx_http_certctl_call_t *call);

/* command/bulk.c: the number in progress; on the event loop */

void ngx_http_certctl_bulk_before(ngx_http_certctl_call_t *call);
void ngx_http_certctl_bulk_after(ngx_http_certctl_call_t *call);


/* command/rotate_ticket_keys.c: in a worker that starts, event loop */

void ngx_http_certctl_ticket_keys_worker(ngx_cycle_t *cycle,
    ngx_http_certctl_main_conf_t *mcf);


/* command/change.c: what several requests share */

/* On the event loop: 403 for the control listener's identity. */
void ngx_http_certctl_identity_before(ngx_http_certctl_call_t *call);

/* Counts a commit. */
void ngx_http_certctl_record_live(ngx_http_certctl_main_conf_t *mcf);

/* The members of a record: name, generation, fingerprint, not_after; and with
   newer_staple, that a staple which came with it was older than the kept one. */
void ngx_http_certctl_record_facts(ngx_http_certctl_json_t *json,
    const char *name, const struct certctl_leaf *leaf, uint64_t generation,
    ngx_uint_t newer_staple, char *fingerprint);

/* All of these of the live record, and the warnings of a PUT, if it was one. */
void ngx_http_certctl_request_live(ngx_http_certctl_call_t *call,
    const struct certctl_leaf *leaf, uint64_t generation,
    ngx_http_certctl_put_t *put);


#endif /* _NGX_CERTCTL_COMMAND_H_INCLUDED_ */
