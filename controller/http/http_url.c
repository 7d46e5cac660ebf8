/* The one place where URLs are put together. */
#include "http.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Unreserved characters stay (RFC 3986 2.3), all others are percent-encoded. */
void
http_url_text(FILE *out, const char *text)
{
    for (const unsigned char *p = (const void *) text; *p; p++) {
        if (isalnum(*p) || strchr("-._~", *p)) {
            putc(*p, out);
        } else {
            fprintf(out, "%%%02X", *p);
        }
    }
}

/* RFC 3986 5.2.4, 6.2.2.3: dots would name another segment, encoded or not; nothing
 * would join two slashes. */
bool
http_url_segment(FILE *out, const char *text, struct error *err)
{
    http_url_text(out, text);

    return (*text && strcmp(text, ".") != 0 && strcmp(text, "..") != 0)
           || error_set(err, ERR_INVALID, "RFC 3986 3.3: an empty name, \".\" and \"..\" "
                        "cannot stand in a path");
}

void
http_url_base(FILE *out, const char *base)
{
    size_t  len = strcspn(base, "?#");

    while (len > 0 && base[len - 1] == '/') {
        len--;
    }

    fprintf(out, "%.*s", (int) len, base);
}

/* path with its arguments, to out; false at one that cannot be a segment. */
static bool
write_path(FILE *out, const char *path, va_list ap, struct error *err)
{
    const char  *text;
    bool         query = false;

    for (const char *p = path; *p; p++) {
        query = query || *p == '?';

        if (*p != '%') {
            putc(*p, out);

        } else if (*++p == 'd') {
            fprintf(out, "%d", va_arg(ap, int));

        } else {
            text = va_arg(ap, const char *);

            if (query) {
                http_url_text(out, text);
            } else if (!http_url_segment(out, text, err)) {
                return false;
            }
        }
    }

    return true;
}

char *
http_url(const char *base, struct error *err, const char *path, ...)
{
    CLEANUP(mem) char  *url = NULL;
    size_t              size;
    FILE               *out = open_memstream(&url, &size);
    bool                ok;
    va_list             ap;

    if (out == NULL) {
        error_set(err, ERR_INTERNAL, "out of memory");
        return NULL;
    }

    http_url_base(out, base);
    va_start(ap, path);
    ok = write_path(out, path, ap, err);
    va_end(ap);

    if (fclose(out) != 0) {
        error_set(err, ERR_INTERNAL, "out of memory");
        return NULL;
    }

    if (!ok) {
        return NULL;
    }

    if (strlen(url) > HTTP_URL_MAX) {
        error_set(err, ERR_INVALID, "a URL has at most %d bytes", HTTP_URL_MAX);
        return NULL;
    }

    return TAKE(url);
}
