/* Text as it travels in URLs: percent-encoding (RFC 3986 2.1), UTF-8. */
#pragma once
#include "rest.h"

/* Room for what one request line decodes to, handed out front to back. */
struct text_room {
    size_t  used;
    char    text[4096];
};

/*
 * The decoded text, in room; NULL with MALFORMED for a bad escape, a NUL or
 * bytes that are not UTF-8, TOO_LARGE when room is out.  plus: "+" is a space.
 */
const char *text_decode(struct text_room *room, const char *from, size_t len,
    bool plus, struct error *err);

/* Whether text is UTF-8 without overlong forms and surrogates (RFC 3629). */
bool text_is_utf8(const char *text, size_t len);

/* Splits "a=1&b=2" into decoded pairs; a name given twice is MALFORMED. */
bool text_query(struct text_room *room, const char *query,
    struct query_arg args[REST_QUERY_MAX], struct error *err);
