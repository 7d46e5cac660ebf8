/*
 * Names of records in the store of a host, as both programs check them: the module
 * for each request, the controller before a name becomes a part of a path.
 */
#pragma once
#include "wire.h"
#include <stddef.h>

/* The same as a class of a regular expression. */
#define CERTCTL_RECORD_CLASS  "[A-Za-z0-9._*-]"

static inline int
certctl_record_char(int c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')
           || (c >= '0' && c <= '9')
           || c == '.' || c == '_' || c == '*' || c == '-';
}

/* Any record; "." and ".." are folders. */
static inline int
certctl_record_valid(const char *text, size_t len)
{
    size_t  i;

    for (i = 0; i < len && certctl_record_char((unsigned char) text[i]); i++) {
        /* void */
    }

    return i == len && len <= CERTCTL_NAME_MAX
           && !(len <= 2 && (len == 0 || (text[0] == '.' && text[len - 1] == '.')));
}

/* One of a certificate: those that begin with "_" are the module's own. */
static inline int
certctl_record_usable(const char *text, size_t len)
{
    return certctl_record_valid(text, len) && text[0] != '_';
}
