/* Error codes, and the HTTP status and title each one answers with. */
#include "error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const struct err_info  err_infos[ERR__MAX] = {
#define X(name, status, title, type, when)                                    \
    [ERR_ ## name] = { status, title, type, when },
    ERR_CODES(X)
#undef X
};

bool
error_set(struct error *err, enum err code, const char *fmt, ...)
{
    va_list  ap;
    char     detail[sizeof(err->detail)];

    /* fmt may take its arguments out of err */
    va_start(ap, fmt);
    vsnprintf(detail, sizeof(detail), fmt, ap);
    va_end(ap);

    *err = (struct error) { .code = code };
    memcpy(err->detail, detail, sizeof(detail));

    return false;
}

bool
error_field(struct error *err, const char *pointer, const char *fmt, ...)
{
    va_list  ap;

    *err = (struct error) { .code = ERR_INVALID };
    snprintf(err->pointer, sizeof(err->pointer), "%s", pointer);

    va_start(ap, fmt);
    vsnprintf(err->detail, sizeof(err->detail), fmt, ap);
    va_end(ap);

    return false;
}

void
error_words(const char *name, char *out, size_t size)
{
    size_t  n = 0;

    for ( ; *name && n + 1 < size; name++) {
        out[n++] = *name == '_' ? ' ' : *name;
    }

    out[n] = '\0';
}

bool
error_not_found(struct error *err, const char *what, const char *id)
{
    char  words[60];

    error_words(what, words, sizeof(words));

    return error_set(err, ERR_NOT_FOUND, "%s \"%.100s\" not found", words, id);
}

bool
error_prefix(struct error *err, const char *fmt, ...)
{
    va_list  ap;
    size_t   len;
    char     old[sizeof(err->detail)];

    memcpy(old, err->detail, sizeof(old));

    va_start(ap, fmt);
    vsnprintf(err->detail, sizeof(err->detail), fmt, ap);
    va_end(ap);

    len = strlen(err->detail);
    snprintf(err->detail + len, sizeof(err->detail) - len, ": %s", old);

    return false;
}
