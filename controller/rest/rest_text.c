/* Decodes paths and query strings into room that one request owns. */
#include "rest_text.h"

#include <string.h>

static int
hex_digit(int c)
{
    return c >= '0' && c <= '9' ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
           : -1;
}

/* How many bytes the sequence at p takes, 0 when it is none (RFC 3629 4). */
static size_t
utf8_sequence(const unsigned char *p, size_t left)
{
    static const struct { unsigned char lo, hi, min, max; size_t len; } forms[] = {
        { 0x01, 0x7f, 0x00, 0x00, 1 }, { 0xc2, 0xdf, 0x80, 0xbf, 2 },
        { 0xe0, 0xe0, 0xa0, 0xbf, 3 }, { 0xe1, 0xec, 0x80, 0xbf, 3 },
        { 0xed, 0xed, 0x80, 0x9f, 3 }, { 0xee, 0xef, 0x80, 0xbf, 3 },
        { 0xf0, 0xf0, 0x90, 0xbf, 4 }, { 0xf1, 0xf3, 0x80, 0xbf, 4 },
        { 0xf4, 0xf4, 0x80, 0x8f, 4 },
    };

    for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
        if (p[0] < forms[i].lo || p[0] > forms[i].hi) {
            continue;
        }

        if (left < forms[i].len
            || (forms[i].len > 1 && (p[1] < forms[i].min || p[1] > forms[i].max)))
        {
            return 0;
        }

        for (size_t n = 2; n < forms[i].len; n++) {
            if ((p[n] & 0xc0) != 0x80) {
                return 0;
            }
        }

        return forms[i].len;
    }

    return 0;
}

bool
text_is_utf8(const char *text, size_t len)
{
    const unsigned char  *p = (const unsigned char *) text;
    size_t                n;

    for (size_t i = 0; i < len; i += n) {
        n = utf8_sequence(p + i, len - i);
        if (n == 0) {
            return false;
        }
    }

    return true;
}

const char *
text_decode(struct text_room *room, const char *from, size_t len, bool plus,
    struct error *err)
{
    char    *start = room->text + room->used, *to = start;
    int      hi, lo;

    if (len >= sizeof(room->text) - room->used) {
        error_set(err, ERR_TOO_LARGE, "the request line is too long");
        return NULL;
    }

    for (size_t i = 0; i < len; i++) {
        if (from[i] != '%') {
            *to++ = plus && from[i] == '+' ? ' ' : from[i];
            continue;
        }

        hi = i + 2 < len ? hex_digit(from[i + 1]) : -1;
        lo = i + 2 < len ? hex_digit(from[i + 2]) : -1;
        if (hi < 0 || lo < 0) {
            error_set(err, ERR_MALFORMED,
                      "RFC 3986 2.1: \"%%\" needs two hex digits after it");
            return NULL;
        }

        *to++ = (char) (hi << 4 | lo);
        i += 2;
    }

    *to = '\0';

    if (!text_is_utf8(start, to - start)) {
        error_set(err, ERR_MALFORMED, "the URL holds a NUL or is not UTF-8");
        return NULL;
    }

    room->used += to - start + 1;

    return start;
}

static bool
query_pair(struct text_room *room, const char *pair, size_t len,
    struct query_arg *args, int n, struct error *err)
{
    const char  *equals = memchr(pair, '=', len);
    size_t       name_len = equals ? (size_t) (equals - pair) : len;

    args[n].name = text_decode(room, pair, name_len, true, err);
    args[n].value = args[n].name == NULL ? NULL
        : text_decode(room, pair + len - (equals ? len - name_len - 1 : 0),
                      equals ? len - name_len - 1 : 0, true, err);

    if (args[n].value == NULL) {
        return false;
    }

    for (int i = 0; i < n; i++) {
        if (strcmp(args[i].name, args[n].name) == 0) {
            return error_set(err, ERR_MALFORMED,
                             "query parameter \"%.60s\" is given twice",
                             args[n].name);
        }
    }

    return true;
}

bool
text_query(struct text_room *room, const char *query,
    struct query_arg args[REST_QUERY_MAX], struct error *err)
{
    size_t  len;
    int     n = 0;

    for ( ; query && *query; query += len + (query[len] == '&')) {
        len = strcspn(query, "&");
        if (len == 0) {
            continue;
        }

        if (n == REST_QUERY_MAX - 1) {
            return error_set(err, ERR_MALFORMED,
                             "a request has at most %d query parameters",
                             REST_QUERY_MAX - 1);
        }

        if (!query_pair(room, query, len, args, n++, err)) {
            return false;
        }
    }

    args[n] = (struct query_arg) { NULL, NULL };

    return true;
}
