
/* POST sessions/flush: no TLS session that exists is resumed from now on. */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "command/command.h"
#include "tls/sessions.h"
#include "tls/ticket_keys.h"


void
ngx_http_certctl_request_flush(ngx_http_certctl_call_t *call)
{
    int       rc;
    uint64_t  epoch;

    rc = certctl_store_flush(call->mcf->certctl.store, &epoch);

    if (rc != CERTCTL_STORE_OK) {
        ngx_http_certctl_request_store_error(call, rc);
        return;
    }

    ngx_certctl_sessions_flush(call->mcf->certctl.zone, epoch);

    /* no ticket of the keys of before is of use now, but who has read them
       could decrypt recorded connections (RFC 5077 5.6) */

    if (call->mcf->certctl.ticket_keys) {
        ngx_certctl_ticket_keys_rotate(&call->mcf->certctl, 1, ngx_cycle->log);
    }

    ngx_log_error(NGX_LOG_NOTICE, ngx_cycle->log, 0,
                  "certctl: TLS sessions are flushed, epoch %uL", epoch);

    ngx_http_certctl_answer_open(call);
    ngx_http_certctl_json_number(&call->json, "epoch", epoch);
    ngx_http_certctl_json_time(&call->json, "flushed", epoch / 1000000);
    ngx_http_certctl_json_close(&call->json, '}');
}
