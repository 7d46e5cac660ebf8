/*
 * What a client says it knows: If-Match of a record's generation, If-None-Match
 * of the report, and the fingerprint in a path.  An input is four
 * lines: a generation, If-Match, If-None-Match, fingerprint.
 */
#include "ngx_shim.h"
#include "call/tags.c"
#include "command/ocsp.c"
#include "call/json.c"

static ngx_http_certctl_main_conf_t  mcf;

ngx_int_t
ngx_http_certctl_request_error(ngx_http_certctl_call_t *call,
    ngx_uint_t status, const char *rule)
{
    FUZZ_MUST(call->status == 0 && status == 400 && *rule);
    call->status = status;

    return NGX_DECLINED;
}

/* A list of two: whatever a client sends, in quotes and behind an x, so that it
   is no tag of ours; and the tag. */
static ngx_str_t
list_with(ngx_str_t value, const char *tag)
{
    ngx_str_t  list;
    size_t     n = 0, len = 2 * value.len + strlen(tag) + 8;

    list.data = malloc(len);
    FUZZ_MUST(list.data != NULL);
    list.data[n++] = '"';
    list.data[n++] = 'x';

    for (size_t i = 0; i < value.len; i++) {
        if (value.data[i] != '"') {
            list.data[n++] = value.data[i];
        }
    }

    list.len = n + snprintf((char *) list.data + n, len - n, "\" ,, %s", tag);

    return list;
}

static ngx_uint_t
matches(ngx_http_certctl_call_t *call, ngx_str_t value, uint64_t generation)
{
    static ngx_http_request_t  r;
    ngx_table_elt_t            header = { .value = value };

    call->request = &r;
    r.headers_in.if_match = &header;
    memset(call->if_match, 0xA5, sizeof(call->if_match));

    ngx_http_certctl_request_if_match(call);
    FUZZ_MUST(*call->if_match
              && memchr(call->if_match, '\0', sizeof(call->if_match)));

    return ngx_http_certctl_record_matches(call->if_match, generation);
}

static void
if_match(ngx_http_certctl_call_t *call, uint64_t generation, ngx_str_t value)
{
    char        own[48];
    ngx_str_t   list;
    ngx_uint_t  same;

    FUZZ_MUST(ngx_http_certctl_record_matches("", generation));

    /* what fits has the number, and a header alone never is none */

    snprintf(own, sizeof(own), "%llu", (unsigned long long) generation);
    same = matches(call, value, generation);
    FUZZ_MUST(!same || (value.len == 1 && value.data[0] == '*' && generation)
              || memmem(value.data, value.len, own, strlen(own)));

    for (int how = 0; how < 3; how++) {
        snprintf(own, sizeof(own), how == 0 ? "\"%llu\"" : how == 1 ? "%llu"
                 : "W/\"%llu\"", (unsigned long long) generation);
        list = list_with(value, own);
        same = matches(call, list, generation);
        FUZZ_MUST(same ? how < 2
                  : how == 2 || list.len >= sizeof(call->if_match) - 1
                    || memchr(list.data, '\0', list.len));
        free(list.data);
    }
}

static ngx_uint_t
known(ngx_http_certctl_call_t *call, ngx_str_t value)
{
    static ngx_http_request_t  r;
    ngx_table_elt_t            header = { .value = value };
    size_t                     n;

    call->request = &r;
    call->status = 0;
    r.headers_in.if_none_match = &header;
    ngx_http_certctl_report_etag(call);

    n = strlen(call->etag);
    FUZZ_MUST(n >= 7 && n < sizeof(call->etag)
              && memcmp(call->etag, "W/\"", 3) == 0 && call->etag[n - 1] == '"');
    FUZZ_MUST(call->status == 0 || call->status == NGX_HTTP_NOT_MODIFIED);

    return call->status != 0;
}

static void
if_none_match(ngx_http_certctl_call_t *call, ngx_str_t value)
{
    char       own[sizeof(call->etag)];
    ngx_str_t  list;

    FUZZ_MUST(!known(call, value) || (value.len == 1 && value.data[0] == '*')
              || memmem(value.data, value.len, call->etag + 2,
                        strlen(call->etag + 2)));

    /* its own, wherever it stands in a list, weak or not, is the same report */

    for (int how = 0; how < 2; how++) {
        snprintf(own, sizeof(own), "%s", call->etag + (how ? 2 : 0));
        list = list_with(value, own);
        FUZZ_MUST(known(call, list));

        /* what another tag has in its quotes is none */

        list.data[list.len - 1] = 'x';
        FUZZ_MUST(!known(call, list));
        free(list.data);
    }

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
