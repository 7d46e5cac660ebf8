/*
 * The head of a control request: path, arguments with percent-encoding,
 * Content-Type, Content-Length, If-Match.  An input is a method, G P U D, and
 * four lines: target, media type, length, If-Match.
 */
#include "ngx_shim.h"
#include "ngx_http_certctl_request.c"
#include "ngx_http_certctl_request_args.c"
#include "ngx_certctl_challenge_names.c"

ngx_module_t  ngx_http_certctl_module;

#define WORK(name)                                                            \
    void                                                                      \
    name(ngx_http_certctl_call_t *call)                                       \
    {                                                                         \
        FUZZ_MUST(!"work is done elsewhere");                                 \
    }

WORK(ngx_http_certctl_request_run)
WORK(ngx_http_certctl_request_csr)
WORK(ngx_http_certctl_request_put)
WORK(ngx_http_certctl_request_rollback)
WORK(ngx_http_certctl_request_delete)
WORK(ngx_http_certctl_request_ocsp)
WORK(ngx_http_certctl_request_discover)
WORK(ngx_http_certctl_request_put_http01)
WORK(ngx_http_certctl_request_delete_http01)
WORK(ngx_http_certctl_request_put_tlsalpn)
WORK(ngx_http_certctl_request_delete_tlsalpn)
WORK(ngx_http_certctl_report_metrics)
WORK(ngx_http_certctl_report_status)
WORK(ngx_http_certctl_report_etag)
WORK(ngx_http_certctl_report_certificates)

ngx_http_certctl_call_t *
ngx_http_certctl_request_create(ngx_http_request_t *r,
    ngx_http_certctl_main_conf_t *mcf)
{
    return NULL;
}

const char *
ngx_http_certctl_agent_auth(ngx_http_request_t *r)
{
    return "nobody is anybody";
}

ngx_int_t
ngx_http_certctl_request_answer(ngx_http_certctl_call_t *call)
{
    return NGX_ERROR;
}

ngx_int_t
ngx_http_certctl_request_read_body(ngx_http_certctl_call_t *call)
{
    return NGX_ERROR;
}

void
ngx_http_certctl_request_error(ngx_http_certctl_call_t *call,
    ngx_uint_t status, const char *rule)
{
    FUZZ_MUST(call->status == 0 && status >= 400 && status < 500 && *rule);
    call->status = status;
}

void
ngx_log_error_core(ngx_uint_t level, ngx_log_t *log, ngx_err_t err,
    const char *fmt, ...)
{
}

/* Its only callers print a number or a text into 80 bytes. */
u_char *
ngx_snprintf(u_char *buf, size_t max, const char *fmt, ...)
{
    FUZZ_MUST(max == 79);
    *buf++ = '?';
    *buf = '\0';

    return buf;
}

ngx_int_t
ngx_strncasecmp(u_char *s1, u_char *s2, size_t n)
{
    return strncasecmp((char *) s1, (char *) s2, n);
}

ngx_int_t
ngx_atoi(u_char *text, size_t n)
{
    ngx_int_t  value = n ? 0 : NGX_ERROR;

    for (size_t i = 0; i < n; i++) {
        if (text[i] < '0' || text[i] > '9'
            || value > (NGX_MAX_INT_T_VALUE - 9) / 10)
        {
            return NGX_ERROR;
        }

        value = value * 10 + (text[i] - '0');
    }

    return value;
}

void
ngx_strlow(u_char *to, u_char *from, size_t n)
{
    while (n--) {
        *to++ = (u_char) tolower(*from++);
    }
}

/* %ui and %xi are all that is asked for. */
u_char *
ngx_sprintf(u_char *buf, const char *fmt, ...)
{
    va_list      args;
    ngx_uint_t   n;

    va_start(args, fmt);

    for ( ; *fmt; fmt++) {
        if (*fmt != '%') {
            *buf++ = *fmt;
            continue;
        }

        n = va_arg(args, ngx_uint_t);
        buf += snprintf((char *) buf, 21, fmt[1] == 'x' ? "%lx" : "%lu", n);
        fmt += 2;
    }

    va_end(args);

    return buf;
}

/* The line at *p in memory of its own. */
static ngx_str_t
line(const uint8_t **p, const uint8_t *end)
{
    const uint8_t  *stop = memchr(*p, '\n', end - *p);
    ngx_str_t       ret;

    stop = stop ? stop : end;
    ret.len = stop - *p;
    ret.data = fuzz_copy(*p, ret.len);
    *p = stop + (stop < end);

    return ret;
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

        ngx_http_certctl_request_if_match(&call);
        FUZZ_MUST(strlen(call.if_match) < sizeof(call.if_match));

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
    ngx_table_elt_t       type = { 0 }, match = { 0 };
    ngx_http_request_t   *r;

    if (len == 0) {
        return 0;
    }

    r = calloc(1, sizeof(*r));
    FUZZ_MUST(r != NULL);

    r->method = *data == 'P' ? NGX_HTTP_POST : *data == 'U' ? NGX_HTTP_PUT
                : *data == 'D' ? NGX_HTTP_DELETE : NGX_HTTP_GET;
    r->unparsed_uri = line(&p, end);
    query = memchr(r->unparsed_uri.data, '?', r->unparsed_uri.len);

    if (query) {
        r->args.data = query + 1;
        r->args.len = r->unparsed_uri.data + r->unparsed_uri.len - query - 1;
    }

    type.value = line(&p, end);
    length = line(&p, end);
    match.value = line(&p, end);
    number = fuzz_text(length.data, length.len);

    r->headers_in.content_type = type.value.len ? &type : NULL;
    r->headers_in.if_match = match.value.len ? &match : NULL;
    r->headers_in.content_length_n = length.len ? strtoll(number, NULL, 10) : -1;

    ask(r);

    free(number);
    free(r->unparsed_uri.data);
    free(type.value.data);
    free(length.data);
    free(match.value.data);
    free(r);

    return 0;
}
