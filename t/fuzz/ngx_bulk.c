/*
 * The body of POST certificates: the lines that name the chains. What stands
 * between them is ngx_body's; here a chain that is empty is refused, and the
 * store takes turns: stored, and somebody else was at that name.
 */
#include "ngx_shim.h"

/* names are judged by the store's own code, which brings this one along */
#define certctl_store_put_many  shim_put_many
#include "command/bulk.c"

static ngx_http_certctl_main_conf_t  mcf;
static ngx_http_certctl_call_t       call;
static size_t                        checked, freed, stored, alone;
static u_char                       *behind;
static uint64_t                      live, refused;

void *
ngx_calloc(size_t size, ngx_log_t *log)
{
    return calloc(1, size);
}

ngx_int_t
ngx_http_certctl_request_error(ngx_http_certctl_call_t *c, ngx_uint_t status,
    const char *rule)
{
    FUZZ_MUST(c->status == 0 && (status == 400 || status == 413) && *rule);
    FUZZ_MUST(checked == 0);
    c->status = status;

    return NGX_DECLINED;
}

/* Behind the parts of reserved names, which are refused unread. */
static u_char *
skip_reserved(u_char *p)
{
    u_char  *end = call.body + call.body_len;

    while (end - p >= 2 && p[1] == '_') {
        p = memmem(p, end - p, "\n@", 2);
        p = p ? p + 1 : end;
    }

    return p;
}

/* Parts lie one behind the other, up to the end; none holds another's line. */
ngx_int_t
ngx_http_certctl_put_check(ngx_http_certctl_put_t *put)
{
    u_char  *end = put->pem.data + put->pem.len;

    behind = skip_reserved(behind);
    FUZZ_MUST(certctl_name_valid((u_char *) put->name,
                                 strlen(put->name)));
    FUZZ_MUST(strlen(put->if_match) < sizeof(put->if_match));
    FUZZ_MUST(*behind == '@' && put->pem.data > behind);
    FUZZ_MUST(end <= call.body + call.body_len);
    FUZZ_MUST(memmem(behind, end - behind, "\n@", 2) == NULL);
    FUZZ_MUST(memchr(behind, '\n', put->pem.data - behind) == NULL);

    behind = end;
    checked++;

    if (put->pem.len > 1) {
        return NGX_OK;
    }

    put->status = 422;
    put->rule = "empty";

    return NGX_DECLINED;
}

void
ngx_http_certctl_yield_to_loop(void)
{
}

ngx_uint_t
ngx_http_certctl_is_terminating(void)
{
    return 0;
}

ngx_int_t
ngx_http_certctl_put_fit(ngx_http_certctl_put_t *put)
{
    return NGX_OK;
}

void
certctl_store_put_many(certctl_store_t *store, certctl_store_put_t *puts,
    size_t n, certctl_lock_pool_t *locks, certctl_changed_pt changed, void *data)
{
    FUZZ_MUST(n <= CERTCTL_STORE_MANY);

    for (size_t i = 0; i < n; i++) {
        puts[i].rc = i % 2 ? CERTCTL_STORE_CONFLICT : CERTCTL_STORE_OK;
        puts[i].err = 0;
        puts[i].generation = i + 1;
    }
}

void
ngx_http_certctl_put_stored(ngx_http_certctl_put_t *put, int rc,
    uint64_t generation)
{
    FUZZ_MUST(rc == CERTCTL_STORE_OK && generation);
    put->status = 200;
    stored++;
}

void
ngx_http_certctl_put_commit(ngx_http_certctl_put_t *put)
{
    put->status = 200;
    alone++;
}

void
ngx_http_certctl_put_free(ngx_http_certctl_put_t *put)
{
    FUZZ_MUST(put->status);
    freed++;
}

void
ngx_http_certctl_put_answer(ngx_http_certctl_put_t *put,
    ngx_http_certctl_json_t *json, char *fingerprint)
{
}

void
ngx_http_certctl_answer_open(ngx_http_certctl_call_t *c)
{
    FUZZ_MUST(c->status == 0);
    c->status = NGX_HTTP_OK;
}

void
ngx_http_certctl_json_open(ngx_http_certctl_json_t *json, const char *key,
    u_char bracket)
{
}

void
ngx_http_certctl_json_close(ngx_http_certctl_json_t *json, u_char bracket)
{
}

void
ngx_http_certctl_json_text(ngx_http_certctl_json_t *json, const char *key,
    const char *text)
{
}

void
ngx_http_certctl_json_number(ngx_http_certctl_json_t *json, const char *key,
    int64_t value)
{
    if (strcmp(key, "live") == 0) {
        live = value;

    } else if (strcmp(key, "refused") == 0) {
        refused = value;
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static ngx_certctl_zone_t  zone;
    size_t                     lines = 0;

    if (len > CERTCTL_CHAIN_MAX) {
        return 0;
    }

    memset(&call, 0, sizeof(call));
    checked = freed = stored = alone = live = refused = 0;
    mcf.certctl.zone = &zone;
    call.mcf = &mcf;
    call.body = behind = fuzz_copy(data, len);
    call.body_len = len;

    for (size_t i = 0; i < len; i++) {
        lines += data[i] == '@' && (i == 0 || data[i - 1] == '\n');
    }

    ngx_http_certctl_bulk_before(&call);
    ngx_http_certctl_request_bulk(&call);
    (*call.counter)--;

    /* all parts are answered, up to the last byte, or none is looked at */

    if (call.status == 200) {
        FUZZ_MUST(live + refused == lines && lines <= CERTCTL_BULK_MAX);
        FUZZ_MUST(live >= stored + alone && freed == lines);
        FUZZ_MUST(skip_reserved(behind) == call.body + len);

    } else {
        FUZZ_MUST(call.status && checked == 0 && freed == 0);
    }

    free(call.body);

    return 0;
}
