
/*
 * Names and arguments of control requests: decoded once, checked before any
 * work begins.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include <arpa/inet.h>

#include "call/call.h"
#include "x509_key.h"
#include "x509_rule.h"


/* Of an argument that is not known. */
#define NGX_HTTP_CERTCTL_ARG_SHOWN  32

#define AT(NAME)  [NGX_HTTP_CERTCTL_ARG_ ## NAME]


static const char *
ngx_http_certctl_arg_name(const char *value)
{
    if (!certctl_name_valid((const u_char *) value, ngx_strlen(value))) {
        return NGX_HTTP_CERTCTL_NAME_RULE;
    }

    return value[0] != '_' || ngx_strcmp(value, CERTCTL_WIRE_IDENTITY) == 0
           ? NULL : "a name that begins with \"_\" is reserved";
}


/* A record, a host name, or an IP address. */

static const char *
ngx_http_certctl_arg_host(const char *value)
{
    struct in6_addr  addr;

    return inet_pton(AF_INET6, value, &addr) == 1
           ? NULL : ngx_http_certctl_arg_name(value);
}


/* "s" and a place among the servers, or "u" and the name of a record. */

static const char *
ngx_http_certctl_arg_after(const char *value)
{
    size_t  n;

    n = ngx_strlen(value + (value[0] != '\0'));

    if ((value[0] == 'u'
         && certctl_name_valid((const u_char *) value + 1, n))
        || (value[0] == 's' && n >= 1 && n <= 15
            && ngx_hextoi((u_char *) value + 1, n) != NGX_ERROR))
    {
        return NULL;
    }

    return "after must be the \"next\" value of the previous page";
}


/* The thread that opens it finds out where it leads. */

static const char *
ngx_http_certctl_arg_dir(const char *value)
{
    return value[0] == '/' && ngx_strlen(value) < PATH_MAX
           ? NULL : "dir must be the absolute path of a directory";
}


#define KEY_TYPE(NAME, text, bits)  " " text
#define FLAG  "must_staple, reuse_key and reuse_pending must be 0 or 1"

/* A value is one of the words, each behind a blank, or a number from 1 to max,
   or breaks the rule; or check() says which rule it breaks, or NULL. */

static const struct {
    const char   *name;
    const char   *words;
    ngx_int_t     max;
    const char   *rule;
    const char *(*check)(const char *value);
} ngx_http_certctl_args[NGX_HTTP_CERTCTL_ARG_MAX] = {

    AT(KEY) = { "key", CERTCTL_KEY_TYPES(KEY_TYPE), 0,
                   "key must be one of" CERTCTL_KEY_TYPES(KEY_TYPE), NULL },
    AT(SAN) = { "san", NULL, 0, NULL, certctl_sans_check },
    AT(MUST_STAPLE) = { "must_staple", " 0 1", 0, FLAG, NULL },
    AT(REUSE_KEY) = { "reuse_key", " 0 1", 0, FLAG, NULL },
    AT(REUSE_PENDING) = { "reuse_pending", " 0 1", 0, FLAG, NULL },
    AT(KEYGEN) = { "keygen", " agent server", 0,
                      "keygen must be agent or server", NULL },
    AT(NAME) = { "name", NULL, 0, NULL, ngx_http_certctl_arg_name },
    AT(HOST) = { "name", NULL, 0, NULL, ngx_http_certctl_arg_host },
    AT(TTL) = { "ttl", NULL, NGX_CERTCTL_CHALLENGE_TTL_MAX,
                   "ttl must be 1 to 86400 (seconds)", NULL },
    AT(FORM) = { "form", " full compact", 0,
                    "form must be full or compact", NULL },
    AT(LIMIT) = { "limit", NULL, NGX_HTTP_CERTCTL_LIMIT_MAX,
                     "limit must be 1 to 10000", NULL },
    AT(AFTER) = { "after", NULL, 0, NULL, ngx_http_certctl_arg_after },
    AT(DIR) = { "dir", NULL, 0, NULL, ngx_http_certctl_arg_dir },
};


/* No value contains a blank. */

static ngx_uint_t
ngx_http_certctl_arg_is_word(const char *words, const char *value)
{
    size_t       len;
    const char  *p;

    len = ngx_strlen(value);

    for (p = words; len && p; p = strchr(p + 1, ' ')) {
        if (ngx_strncmp(p + 1, value, len) == 0
            && (p[1 + len] == ' ' || p[1 + len] == '\0'))
        {
            return 1;
        }
    }

    return 0;
}


static const char *
ngx_http_certctl_arg_check(ngx_uint_t i, const char *value)
{
    ngx_int_t  n;

    if (ngx_http_certctl_args[i].check) {
        return ngx_http_certctl_args[i].check(value);
    }

    if (ngx_http_certctl_args[i].words) {
        return ngx_http_certctl_arg_is_word(ngx_http_certctl_args[i].words,
                                            value)
               ? NULL : ngx_http_certctl_args[i].rule;
    }

    n = ngx_atoi((u_char *) value, ngx_strlen(value));

    return n >= 1 && n <= ngx_http_certctl_args[i].max
           ? NULL : ngx_http_certctl_args[i].rule;
}


/* The segment of the path that is asked for: of a record, if nothing else. */

static const char *
ngx_http_certctl_arg_segment(const char *path, const char *value)
{
    ngx_certctl_challenge_t  challenge;

    if (strstr(path, "{token}")) {
        return ngx_certctl_challenge_token((const u_char *) value,
                                           ngx_strlen(value))
               ? NULL
               : "a token is 1 to 128 of the characters A-Z a-z 0-9 _ -";
    }

    if (strstr(path, "{identifier}")) {
        ngx_memzero(&challenge, sizeof(ngx_certctl_challenge_t));

        return ngx_certctl_challenge_identifier(&challenge, value) == NGX_OK
               ? NULL
               : "an identifier is a DNS name without wildcard, or an IP "
                 "address";
    }

    return ngx_http_certctl_arg_name(value);
}


/*
 * Percent-decoding (RFC 3986 2.1) into dst, which takes len + 1.  "+" is no
 * blank here.  Refuses control characters, NUL before all, and non-ASCII.
 */

static ngx_int_t
ngx_http_certctl_arg_decode(const u_char *src, size_t len, char *dst)
{
    ngx_int_t      c;
    const u_char  *last;

    for (last = src + len; src < last; src++) {

        c = *src;

        if (c == '%') {
            if (last - src < 3) {
                return NGX_ERROR;
            }

            c = ngx_hextoi((u_char *) src + 1, 2);
            src += 2;
        }

        if (c <= 0x20 || c >= 0x7f) {
            return NGX_ERROR;
        }

        *dst++ = (char) c;
    }

    *dst = '\0';

    return NGX_OK;
}


const char *
ngx_http_certctl_request_name(ngx_http_certctl_call_t *call,
    const u_char *text, size_t len)
{
    char         buf[3 * CERTCTL_NAME_MAX + 1];
    const char  *rule;

    if (len >= sizeof(buf)) {
        return "a name has at most 253 characters";
    }

    /* what cannot be decoded breaks the rule of any kind of name */

    if (ngx_http_certctl_arg_decode(text, len, buf) != NGX_OK) {
        buf[0] = '\0';
    }

    rule = ngx_http_certctl_arg_segment(call->route->path, buf);

    if (rule == NULL) {
        ngx_memcpy(call->name, buf, ngx_strlen(buf) + 1);
    }

    return rule;
}


/* Takes one "name=value"; its value goes to *dst, which moves on. */

static const char *
ngx_http_certctl_arg_set(ngx_http_certctl_call_t *call, const u_char *p,
    const u_char *last, char **dst)
{
    char          *value;
    size_t         len;
    ngx_uint_t     i;
    const u_char  *eq;

    eq = ngx_strlchr((u_char *) p, (u_char *) last, '=');

    if (eq == NULL) {
        return "arguments must have the form name=value";
    }

    len = eq - p;

    for (i = 0; i < NGX_HTTP_CERTCTL_ARG_MAX; i++) {
        if ((call->route->args & (1 << i))
            && ngx_strlen(ngx_http_certctl_args[i].name) == len
            && ngx_memcmp(ngx_http_certctl_args[i].name, p, len) == 0)
        {
            break;
        }
    }

    if (i == NGX_HTTP_CERTCTL_ARG_MAX) {
        return certctl_rule("unknown argument \"%.*s\"",
                            (int) ngx_min(len, NGX_HTTP_CERTCTL_ARG_SHOWN), p);
    }

    if (call->args[i]) {
        return certctl_rule("argument \"%s\" occurs twice",
                            ngx_http_certctl_args[i].name);
    }

    value = *dst;

    if (ngx_http_certctl_arg_decode(eq + 1, last - eq - 1, value) != NGX_OK) {
        return certctl_rule("argument \"%s\" is not percent-encoded printable "
                            "ASCII (RFC 3986 2.1)",
                            ngx_http_certctl_args[i].name);
    }

    *dst += ngx_strlen(value) + 1;
    call->args[i] = value;

    return ngx_http_certctl_arg_check(i, value);
}


/* dst has one byte more than args; it may be where they are. */

static const char *
ngx_http_certctl_args_set(ngx_http_certctl_call_t *call, u_char *p,
    u_char *last, char *dst)
{
    u_char      *end;
    const char  *rule;

    for ( /* void */ ; p < last; p = end + 1) {

        end = ngx_strlchr(p, last, '&');
        end = end ? end : last;

        rule = ngx_http_certctl_arg_set(call, p, end, &dst);

        if (rule) {
            return rule;
        }
    }

    return NULL;
}


const char *
ngx_http_certctl_request_args(ngx_http_certctl_call_t *call, ngx_str_t *args)
{
    if (args->len == 0) {
        return NULL;
    }

    call->arg_text = ngx_alloc(args->len + 1, ngx_cycle->log);
    if (call->arg_text == NULL) {
        return "ngx_alloc() failed";
    }

    return ngx_http_certctl_args_set(call, args->data, args->data + args->len,
                                     call->arg_text);
}


const char *
ngx_http_certctl_request_form(ngx_http_certctl_call_t *call)
{
    return ngx_http_certctl_args_set(call, call->body,
                                     call->body + call->body_len,
                                     (char *) call->body);
}
