/*
 * The few functions of NGINX that files of the module call, written anew: a
 * fuzzer includes the file, and knows NGINX's headers only.
 */
#pragma once
#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "fuzz.h"

volatile ngx_cycle_t  *ngx_cycle = &(ngx_cycle_t) { .log = NULL };

void *
ngx_alloc(size_t size, ngx_log_t *log)
{
    return malloc(size);
}

void
ngx_log_error_core(ngx_uint_t level, ngx_log_t *log, ngx_err_t err,
    const char *fmt, ...)
{
}

void
ngx_explicit_memzero(void *buf, size_t n)
{
    OPENSSL_cleanse(buf, n);
}

void
ngx_strlow(u_char *to, u_char *from, size_t n)
{
    while (n--) {
        *to++ = (u_char) tolower(*from++);
    }
}

/*
 * What the files included here print: %s %V %Z, and numbers as
 * %[0][width][u|x][i|A|L|z|d].
 */
static u_char *
shim_print(u_char *buf, u_char *last, const char *fmt, va_list args)
{
    char        text[1024], format[8];
    size_t      n;
    bool        zero;
    ngx_str_t  *string;

    for ( ; *fmt && buf < last; fmt++) {
        if (*fmt != '%') {
            *buf++ = *fmt;
            continue;
        }

        zero = fmt[1] == '0';
        n = strtoul(fmt + 1, (char **) &fmt, 10);
        snprintf(format, sizeof(format), "%%%s*ll%c", zero ? "0" : "",
                 *fmt == 'u' || *fmt == 'x' ? *fmt : 'd');
        fmt += *fmt == 'u' || *fmt == 'x';

        switch (*fmt) {

        case 's':
            n = snprintf(text, sizeof(text), "%s", va_arg(args, char *));
            break;

        case 'V':
            string = va_arg(args, ngx_str_t *);
            n = snprintf(text, sizeof(text), "%.*s", (int) string->len,
                         string->data);
            break;

        case 'Z':
            text[0] = '\0';
            n = 1;
            break;

        case 'd':
            n = snprintf(text, sizeof(text), format, (int) n,
                         (long long) va_arg(args, int));
            break;

        default:
            FUZZ_MUST(*fmt && strchr("iALz", *fmt));
            n = snprintf(text, sizeof(text), format, (int) n,
                         va_arg(args, long long));
        }

        FUZZ_MUST(n < sizeof(text));
        n = n < (size_t) (last - buf) ? n : (size_t) (last - buf);
        memcpy(buf, text, n);
        buf += n;
    }

    return buf;
}

u_char *
ngx_sprintf(u_char *buf, const char *fmt, ...)
{
    va_list  args;

    va_start(args, fmt);
    buf = shim_print(buf, buf + 4096, fmt, args);
    va_end(args);

    return buf;
}

u_char *
ngx_snprintf(u_char *buf, size_t max, const char *fmt, ...)
{
    va_list  args;

    va_start(args, fmt);
    buf = shim_print(buf, buf + max, fmt, args);
    va_end(args);

    return buf;
}

u_char *
ngx_cpystrn(u_char *dst, u_char *src, size_t n)
{
    int  len = snprintf((char *) dst, n, "%s", (char *) src);

    return dst + ((size_t) len < n ? (size_t) len : n - 1);
}

ngx_int_t
ngx_hextoi(u_char *line, size_t n)
{
    static const char   digits[] = "0123456789abcdef";
    const char         *digit;
    ngx_int_t           value = 0;

    for (size_t i = 0; i < n; i++) {
        digit = line[i] ? strchr(digits, line[i] | 0x20) : NULL;

        if (digit == NULL) {
            return NGX_ERROR;
        }

        value = value << 4 | (digit - digits);
    }

    return n ? value : NGX_ERROR;
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

time_t
ngx_atotm(u_char *text, size_t n)
{
    return ngx_atoi(text, n);
}

void
ngx_gmtime(time_t when, ngx_tm_t *ret)
{
    FUZZ_MUST(gmtime_r(&when, ret) != NULL);
    ret->ngx_tm_year += 1900;
    ret->ngx_tm_mon++;
}

uint32_t
ngx_murmur_hash2(u_char *data, size_t len)
{
    uint32_t  hash = 2166136261;

    while (len--) {
        hash = (hash ^ *data++) * 16777619;
    }

    return hash;
}

/* The line at *p in memory of its own. */
__attribute__((unused)) static ngx_str_t
shim_line(const uint8_t **p, const uint8_t *end)
{
    const uint8_t  *stop = memchr(*p, '\n', end - *p);
    ngx_str_t       ret;

    stop = stop ? stop : end;
    ret.len = stop - *p;
    ret.data = fuzz_copy(*p, ret.len);
    *p = stop + (stop < end);

    return ret;
}
