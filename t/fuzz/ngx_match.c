/*
 * What a client says it knows: If-Match of a record's generation, If-None-Match
 * of the report, and the fingerprint in a path.  An input is four
 * lines: a generation, If-Match, If-None-Match, fingerprint.
 */
#include "ngx_shim.h"
#include "ngx_http_certctl_request_record.c"
#include "ngx_http_certctl_request_ocsp.c"
#include "ngx_http_certctl_report.c"
#include "ngx_http_certctl_report_json.c"

static ngx_http_certctl_main_conf_t  mcf;

SHIM_UNUSED(void, ngx_certctl_touch, ngx_certctl_t *c, const char *name)
SHIM_UNUSED(void, ngx_certctl_touched, const char *name, void *c)
SHIM_UNUSED(ngx_certctl_cert_t *, ngx_certctl_static, ngx_certctl_t *c,
            const u_char *digest)
SHIM_UNUSED(int, ngx_http_certctl_agent_fingerprint, const char *path,
            const char *fingerprint)
SHIM_UNUSED(void, ngx_http_certctl_request_store_error,
            ngx_http_certctl_call_t *call, int rc)
SHIM_UNUSED(ngx_int_t, ngx_http_certctl_report_open,
            ngx_http_certctl_report_t *report, ngx_http_certctl_call_t *call,
            ngx_http_certctl_found_pt found, ngx_uint_t details)
SHIM_UNUSED(void, ngx_http_certctl_report_close, ngx_http_certctl_report_t *r)
SHIM_UNUSED(ngx_int_t, ngx_http_certctl_report_borrow,
            ngx_http_certctl_report_t *r)
SHIM_UNUSED(void, ngx_http_certctl_report_return, ngx_http_certctl_report_t *r)
SHIM_UNUSED(ngx_int_t, ngx_http_certctl_report_servers,
            ngx_http_certctl_report_t *r)
SHIM_UNUSED(ngx_int_t, ngx_http_certctl_report_unserved,
            ngx_http_certctl_report_t *r)
SHIM_UNUSED(void, ngx_http_certctl_report_warnings,
            ngx_http_certctl_report_t *r)
SHIM_UNUSED(void, ngx_http_certctl_report_variable,
            ngx_http_certctl_report_t *r, ngx_certctl_server_t *server)
SHIM_UNUSED(void, ngx_http_certctl_report_entry, ngx_http_certctl_report_t *r,
            ngx_certctl_server_t *server, ngx_certctl_cert_t *cert,
            const char *why, ngx_array_t *asked, ngx_uint_t index)
SHIM_UNUSED(void, ngx_http_certctl_report_compact, ngx_http_certctl_report_t *r,
            ngx_certctl_server_t *server, ngx_certctl_cert_t *cert,
            const char *why, ngx_array_t *asked, ngx_uint_t index)

void
ngx_http_certctl_request_error(ngx_http_certctl_call_t *call,
    ngx_uint_t status, const char *rule)
{
    FUZZ_MUST(call->status == 0 && status == 400 && *rule);
    call->status = status;
}

/* NGINX's ends at a NUL or after n bytes, and finds nothing in less. */
u_char *
ngx_strnstr(u_char *text, char *what, size_t n)
{
    n = strnlen((char *) text, n);

    return memmem(text, n, what, strlen(what));
}

/* ngx_http_certctl_request_if_match() keeps up to 31 bytes (ngx_request.c). */
static void
if_match(ngx_http_certctl_call_t *call, uint64_t generation, ngx_str_t value)
{
    char  own[32];
    bool  same;

    if (value.len >= sizeof(call->if_match)) {
        return;
    }

    memcpy(call->if_match, value.data, value.len);
    snprintf(own, sizeof(own), "%llu", (unsigned long long) generation);
    same = strcmp(call->if_match, own) == 0 || *call->if_match == '\0'
           || (generation && strcmp(call->if_match, "*") == 0);

    FUZZ_MUST(ngx_http_certctl_record_matches(call->if_match, generation)
              == same);
}

static void
if_none_match(ngx_http_certctl_call_t *call, ngx_str_t value)
{
    static ngx_http_request_t  r;
    ngx_table_elt_t            header = { .value = value };
    size_t                     n;

    call->request = &r;
    r.headers_in.if_none_match = &header;
    ngx_http_certctl_report_etag(call);

    n = strlen(call->etag);
    FUZZ_MUST(n >= 5 && n < sizeof(call->etag) && call->etag[0] == '"');
    FUZZ_MUST((call->status == NGX_HTTP_NOT_MODIFIED)
              == ((value.len == 1 && value.data[0] == '*')
                  || memmem(value.data, strnlen((char *) value.data, value.len),
                            call->etag, n) != NULL));

    /* its own, wherever it stands in a list, is the same report */

    call->status = 0;
    header.value.data = (u_char *) call->etag;
    header.value.len = n;
    ngx_http_certctl_report_etag(call);
    FUZZ_MUST(call->status == NGX_HTTP_NOT_MODIFIED);
    call->status = 0;
}

static void
fingerprint(ngx_http_certctl_call_t *call, ngx_str_t value)
{
    ngx_http_certctl_ocsp_t  ocsp = { .call = call };
    char                     hex[CERTCTL_HEX256];

    if (!certctl_name_valid(value.data, value.len)) {
        return;
    }

    memcpy(call->name, value.data, value.len);
    call->name[value.len] = '\0';

    if (ngx_http_certctl_ocsp_digest(&ocsp) == NGX_OK) {
        FUZZ_MUST(value.len == 64 && call->status == 0);
        certctl_hex(ocsp.digest, 32, hex);
        FUZZ_MUST(strncasecmp(hex, (char *) value.data, 64) == 0);
        FUZZ_MUST(strcmp(hex, call->fingerprint) == 0);

    } else {
        FUZZ_MUST(call->status == 400);
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static ngx_certctl_zone_t   zone;
    const uint8_t              *p = data, *end = data + len;
    ngx_http_certctl_call_t     call = { .mcf = &mcf };
    ngx_str_t                   line[4];
    char                       *number;

    for (int i = 0; i < 4; i++) {
        line[i] = shim_line(&p, end);
    }

    number = fuzz_text(line[0].data, line[0].len);
    zone.generation = strtoull(number, NULL, 10);
    zone.epoch = ~zone.generation;
    mcf.certctl.zone = &zone;

    if_match(&call, zone.generation, line[1]);
    if_none_match(&call, line[2]);
    fingerprint(&call, line[3]);

    free(number);

    for (int i = 0; i < 4; i++) {
        free(line[i].data);
    }

    return 0;
}
