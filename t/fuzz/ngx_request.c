/*
 * The head of a control request: path, arguments with percent-encoding,
 * Content-Type, Content-Length (If-Match is ngx_match's).  An input is a method,
 * G P U D, and three lines: target, media type, length.
 */
#include "ngx_shim.h"
#include "agent/requests.c"
#include "call/args.c"
#include "zone/challenge_names.c"

ngx_module_t  ngx_http_certctl_module;

ngx_int_t
ngx_http_certctl_request_error(ngx_http_certctl_call_t *call,
    ngx_uint_t status, const char *rule)
{
    FUZZ_MUST(call->status == 0 && status >= 400 && status < 500 && *rule);
    call->status = status;

    return NGX_DECLINED;
}

ngx_int_t
ngx_strncasecmp(u_char *s1, u_char *s2, size_t n)
{
    return strncasecmp((char *) s1, (char *) s2, n);
}

static void
ask(ngx_http_request_t *r)
{
    char                     **arg;
    ngx_http_certctl_call_t    call = { .request = r };

    if (ngx_http_certctl_request_route(&call) == NGX_OK) {
        FUZZ_MUST(call.route && (r->method & call.route->methods));
        FUZZ_MUST(strlen(call.name) <= CERTCTL_NAME_MAX
                  && !strchr(call.name, '/'));

        for (arg = call.args; arg < call.args + NGX_HTTP_CERTCTL_ARG_MAX; arg++) {
            for (char *p = *arg; p && *p; p++) {
                FUZZ_MUST(*p > 0x20 && *p < 0x7f);
            }
        }

        if (ngx_http_certctl_request_body_rules(&call) != NGX_OK) {
            FUZZ_MUST(call.status);
        }

    } else {
        FUZZ_MUST(call.status);
    }

    free(call.arg_text);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    const uint8_t        *p = data + 1, *end = data + len;
    u_char               *query;
    char                 *number;
    ngx_str_t             length;
    ngx_table_elt_t       type = { 0 };
    ngx_http_request_t   *r;

    if (len == 0) {
        return 0;
    }

    r = calloc(1, sizeof(*r));
    FUZZ_MUST(r != NULL);

    r->method = *data == 'P' ? NGX_HTTP_POST : *data == 'U' ? NGX_HTTP_PUT
                : *data == 'D' ? NGX_HTTP_DELETE : NGX_HTTP_GET;
    r->unparsed_uri = shim_line(&p, end);
    query = memchr(r->unparsed_uri.data, '?', r->unparsed_uri.len);

    if (query) {
        r->args.data = query + 1;
        r->args.len = r->unparsed_uri.data + r->unparsed_uri.len - query - 1;
    }

    type.value = shim_line(&p, end);
    length = shim_line(&p, end);
    number = fuzz_text(length.data, length.len);

    r->headers_in.content_type = type.value.len ? &type : NULL;
    r->headers_in.content_length_n = length.len ? strtoll(number, NULL, 10) : -1;

    ask(r);

    free(number);
    free(r->unparsed_uri.data);
    free(type.value.data);
    free(length.data);
    free(r);

    return 0;
}
