/*
 * Challenges: what a PUT takes from a body, and what a site then answers to
 * whom.  An input is the type, h or t, and four lines: name (token or
 * identifier), ttl, what a client asks for (a path, or an SNI), the body.
 */
#include "ngx_shim.h"
#include "command/pending_challenge.c"
#include "http/http01.c"
#include "zone/challenge.c"
#include "zone/challenge_names.c"
#include "call/json.c"

#define TOKEN  "/.well-known/acme-challenge/"

static ngx_http_certctl_main_conf_t  mcf;
static ngx_http_certctl_srv_conf_t   scf = { .common = { .challenge = 1 } };
static ngx_http_certctl_route_t      put = { .media = "text/plain" }, delete;
static ngx_str_t                     sent;
static time_t                        made;

ngx_module_t                         ngx_http_certctl_module;
ngx_module_t                         ngx_http_core_module, ngx_http_ssl_module;
volatile ngx_time_t                 *ngx_cached_time;

ngx_int_t
ngx_http_certctl_request_error(ngx_http_certctl_call_t *call,
    ngx_uint_t status, const char *rule)
{
    FUZZ_MUST(call->status == 0 && status == 422 && *rule);
    call->status = status;

    return NGX_DECLINED;
}

void
ngx_http_certctl_answer_open(ngx_http_certctl_call_t *call)
{
    call->status = NGX_HTTP_OK;
}

void
ngx_http_certctl_answer_deleted(ngx_http_certctl_call_t *call)
{
    ngx_http_certctl_answer_open(call);
}

void *
ngx_pnalloc(ngx_pool_t *pool, size_t size)
{
    return malloc(size);
}

ngx_int_t
ngx_http_send_response(ngx_http_request_t *r, ngx_uint_t status,
    ngx_str_t *type, ngx_http_complex_value_t *cv)
{
    sent = cv->value;
    return NGX_OK;
}

void
ngx_http_finalize_request(ngx_http_request_t *r, ngx_int_t rc)
{
    FUZZ_MUST(rc == NGX_OK);
}

/* What a site answers to GET uri; to be freed, NULL where it goes on. */
static ngx_str_t
ask(ngx_str_t uri)
{
    static ngx_log_t          log;
    static ngx_connection_t   c = { .log = &log };
    static void              *confs[2] = { &mcf, &scf };
    ngx_http_request_t        r = { .connection = &c, .uri = uri,
                                    .method = NGX_HTTP_GET };

    r.main_conf = &confs[0];
    r.srv_conf = &confs[1];
    ngx_str_null(&sent);

    if (ngx_http_certctl_http01_handler(&r) == NGX_DECLINED) {
        FUZZ_MUST(sent.data == NULL);
    }

    return sent;
}

static void
http01(ngx_http_certctl_call_t *call, ngx_str_t uri)
{
    char       path[sizeof(TOKEN) + CERTCTL_NAME_MAX];
    ngx_str_t  own = { snprintf(path, sizeof(path), TOKEN "%s", call->name),
                       (u_char *) path };
    ngx_str_t  body;
    bool       same = uri.len == own.len && !memcmp(uri.data, path, uri.len);

    call->route = &put;
    ngx_http_certctl_request_http01(call);

    body = ask(own);
    FUZZ_MUST((call->status == NGX_HTTP_OK) == (body.data != NULL));
    FUZZ_MUST(body.data == NULL
              || (body.len == call->body_len
                  && memcmp(body.data, call->body, body.len) == 0));
    free(body.data);

    body = ask(uri);
    FUZZ_MUST((call->status == NGX_HTTP_OK && same) == (body.data != NULL));
    free(body.data);

    call->status = 0;
    call->route = &delete;
    ngx_http_certctl_request_http01(call);
    FUZZ_MUST(ask(own).data == NULL);
}

static void
tlsalpn(ngx_http_certctl_call_t *call, ngx_str_t sni)
{
    ngx_certctl_challenge_t   of, got;
    ngx_certctl_challenges_t *table = &mcf.certctl.zone->challenges;
    ngx_int_t                 found;

    memset(&of, 0, sizeof(of));
    FUZZ_MUST(ngx_certctl_challenge_identifier(&of, call->name) == NGX_OK);
    FUZZ_MUST(of.key_len > 0 && of.key_len <= NGX_CERTCTL_HOST_MAX);

    call->route = &put;
    ngx_http_certctl_request_tlsalpn(call);

    found = ngx_certctl_challenge_find(table, NGX_CERTCTL_TLS_ALPN_01, of.key,
                                       of.key_len, made, &got);
    FUZZ_MUST((call->status == NGX_HTTP_OK) == (found == NGX_OK));
    FUZZ_MUST(found != NGX_OK
              || (got.value_len == 32 && got.addr_len == of.addr_len
                  && got.expires > made));

    found = ngx_certctl_challenge_find(table, NGX_CERTCTL_TLS_ALPN_01, sni.data,
                                       sni.len, made, &got);
    FUZZ_MUST(found != NGX_OK
              || (sni.len == of.key_len
                  && memcmp(sni.data, of.key, sni.len) == 0));

    call->status = 0;
    call->route = &delete;
    ngx_http_certctl_request_tlsalpn(call);
}

/* Name and ttl as the map of requests takes them: t/fuzz/ngx_request.c. */
static bool
taken(ngx_http_certctl_call_t *call, int type, ngx_str_t name, ngx_str_t ttl)
{
    ngx_certctl_challenge_t  c = { .type = 0 };
    ngx_int_t                n = ngx_atoi(ttl.data, ttl.len);

    if (name.len > CERTCTL_NAME_MAX || memchr(name.data, 0, name.len)) {
        return false;
    }

    memcpy(call->name, name.data, name.len);

    if (n >= 1 && n <= NGX_CERTCTL_CHALLENGE_TTL_MAX) {
        call->args[NGX_HTTP_CERTCTL_ARG_TTL] = fuzz_text(ttl.data, ttl.len);
    }

    return type == 'h'
           ? ngx_certctl_challenge_token(name.data, name.len)
           : ngx_certctl_challenge_identifier(&c, call->name) == NGX_OK;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static ngx_certctl_zone_t   zone;
    static ngx_time_t           now;
    const uint8_t              *p = data + 1, *end = data + len;
    ngx_http_certctl_call_t     call = { .mcf = &mcf };
    ngx_str_t                   name, ttl, client;

    if (len == 0) {
        return 0;
    }

    mcf.certctl.zone = &zone;
    made = now.sec = time(NULL);
    ngx_cached_time = &now;

    name = shim_line(&p, end);
    ttl = shim_line(&p, end);
    client = shim_line(&p, end);

    call.body_len = end - p;
    call.body = fuzz_copy(p, call.body_len);

    if (taken(&call, *data, name, ttl)) {
        (*data == 'h' ? http01 : tlsalpn)(&call, client);
        FUZZ_MUST(ngx_certctl_challenge_count(&zone.challenges, made) == 0);
    }

    ngx_http_certctl_json_free(&call.json);
    free(call.args[NGX_HTTP_CERTCTL_ARG_TTL]);
    free(call.body);
    free(name.data);
    free(ttl.data);
    free(client.data);

    return 0;
}
