
/*
 * Writes JSON (RFC 8259) into a list of bounded blocks, so that a report on
 * thousands of certificates never needs one large buffer.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "call/call.h"


void
ngx_http_certctl_json_raw(ngx_http_certctl_json_t *json, const u_char *data,
    size_t len)
{
    size_t                          n;
    ngx_http_certctl_json_block_t  *block;

    while (len && !json->failed) {
        block = json->last;

        if (block == NULL || block->len == sizeof(block->data)) {
            block = ngx_alloc(sizeof(ngx_http_certctl_json_block_t),
                              ngx_cycle->log);
            if (block == NULL) {
                json->failed = 1;
                return;
            }

            block->next = NULL;
            block->len = 0;

            *(json->last ? &json->last->next : &json->first) = block;
            json->last = block;
        }

        n = ngx_min(len, sizeof(block->data) - block->len);
        ngx_memcpy(block->data + block->len, data, n);

        block->len += n;
        json->size += n;
        data += n;
        len -= n;
    }
}


/* The comma before a value, and its key inside of an object. */

static void
ngx_http_certctl_json_key(ngx_http_certctl_json_t *json, const char *key)
{
    if (json->comma) {
        ngx_http_certctl_json_raw(json, (const u_char *) ",", 1);
    }

    /* no key here has a character that would have to be quoted */

    if (key) {
        ngx_http_certctl_json_raw(json, (const u_char *) "\"", 1);
        ngx_http_certctl_json_raw(json, (const u_char *) key, ngx_strlen(key));
        ngx_http_certctl_json_raw(json, (const u_char *) "\":", 2);
    }

    json->comma = 1;
}


void
ngx_http_certctl_json_open(ngx_http_certctl_json_t *json, const char *key,
    u_char bracket)
{
    ngx_http_certctl_json_key(json, key);
    ngx_http_certctl_json_raw(json, &bracket, 1);

    json->comma = 0;
}


void
ngx_http_certctl_json_close(ngx_http_certctl_json_t *json, u_char bracket)
{
    ngx_http_certctl_json_raw(json, &bracket, 1);

    json->comma = 1;
}


/*
 * Bytes of the character at p, or 0 when it is not one (RFC 3629 4: neither
 * overlong forms, nor surrogates, nor beyond U+10FFFF).
 */

size_t
ngx_http_certctl_json_utf8(const u_char *p, size_t len)
{
    size_t  i, n;

    if (p[0] < 0x80) {
        return 1;
    }

    n = (p[0] >= 0xc2 && p[0] <= 0xdf) ? 2
        : (p[0] >= 0xe0 && p[0] <= 0xef) ? 3
        : (p[0] >= 0xf0 && p[0] <= 0xf4) ? 4 : 0;

    if (n == 0 || n > len
        || (p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f)
        || (p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f))
    {
        return 0;
    }

    for (i = 1; i < n; i++) {
        if ((p[i] & 0xc0) != 0x80) {
            return 0;
        }
    }

    return n;
}


void
ngx_http_certctl_json_string(ngx_http_certctl_json_t *json, const char *key,
    const u_char *data, size_t len)
{
    u_char         esc[sizeof("\\u0000")], *end;
    size_t         n;
    const u_char  *p, *last;

    last = data + len;

    ngx_http_certctl_json_key(json, key);
    ngx_http_certctl_json_raw(json, (const u_char *) "\"", 1);

    for (p = data; p < last; p += n) {

        n = ngx_http_certctl_json_utf8(p, last - p);

        if (n && *p >= 0x20 && *p != '"' && *p != '\\' && *p != 0x7f) {
            continue;
        }

        ngx_http_certctl_json_raw(json, data, p - data);

        if (n == 0) {
            /* not UTF-8: U+FFFD for the byte (Unicode 3.9) */
            n = 1;
            end = ngx_cpymem(esc, NGX_HTTP_CERTCTL_NO_UTF8,
                             sizeof(NGX_HTTP_CERTCTL_NO_UTF8) - 1);

        } else if (*p == '\n') {
            end = ngx_cpymem(esc, "\\n", 2);

        } else {
            end = ngx_sprintf(esc, "\\u%04xd", (int) *p);
        }

        ngx_http_certctl_json_raw(json, esc, end - esc);
        data = p + 1;
    }

    ngx_http_certctl_json_raw(json, data, last - data);
    ngx_http_certctl_json_raw(json, (const u_char *) "\"", 1);
}


void
ngx_http_certctl_json_text(ngx_http_certctl_json_t *json, const char *key,
    const char *text)
{
    ngx_http_certctl_json_string(json, key, (const u_char *) text,
                                 ngx_strlen(text));
}


/* A value that is written as it is. */

static void
ngx_http_certctl_json_literal(ngx_http_certctl_json_t *json, const char *key,
    const char *text)
{
    ngx_http_certctl_json_key(json, key);
    ngx_http_certctl_json_raw(json, (const u_char *) text, ngx_strlen(text));
}


void
ngx_http_certctl_json_number(ngx_http_certctl_json_t *json, const char *key,
    int64_t value)
{
    char  buf[NGX_INT64_LEN + 1];

    (void) ngx_sprintf((u_char *) buf, "%L%Z", value);

    ngx_http_certctl_json_literal(json, key, buf);
}


void
ngx_http_certctl_json_flag(ngx_http_certctl_json_t *json, const char *key,
    ngx_uint_t value)
{
    ngx_http_certctl_json_literal(json, key, value ? "true" : "false");
}


/* RFC 3339 in UTC; null for a time that is not known (0). */

void
ngx_http_certctl_json_time(ngx_http_certctl_json_t *json, const char *key,
    time_t when)
{
    u_char    buf[sizeof("1970-01-01T00:00:00Z") + NGX_INT64_LEN], *last;
    ngx_tm_t  tm;

    if (when <= 0) {
        ngx_http_certctl_json_literal(json, key, "null");
        return;
    }

    ngx_gmtime(when, &tm);

    last = ngx_sprintf(buf, "%4d-%02d-%02dT%02d:%02d:%02dZ",
                       tm.ngx_tm_year, tm.ngx_tm_mon, tm.ngx_tm_mday,
                       tm.ngx_tm_hour, tm.ngx_tm_min, tm.ngx_tm_sec);

    ngx_http_certctl_json_string(json, key, buf, last - buf);
}


void
ngx_http_certctl_json_append(ngx_http_certctl_json_t *json,
    ngx_http_certctl_json_t *from)
{
    if (from->first) {
        *(json->last ? &json->last->next : &json->first) = from->first;
        json->last = from->last;
        json->size += from->size;
        json->comma = from->comma;
    }

    json->failed |= from->failed;

    ngx_memzero(from, sizeof(ngx_http_certctl_json_t));
}


void
ngx_http_certctl_json_free(ngx_http_certctl_json_t *json)
{
    ngx_http_certctl_json_block_t  *block, *next;

    for (block = json->first; block; block = next) {
        next = block->next;
        ngx_free(block);
    }

    ngx_memzero(json, sizeof(ngx_http_certctl_json_t));
}
