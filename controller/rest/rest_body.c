/* Reads request bodies as strictly as RFC 8259 and RFC 7493 allow. */
#include "rest_body.h"

#include <string.h>
#include <strings.h>

/* jansson recurses as deep as the text does: look before it leaps. */
static bool
body_is_shallow(const char *text, size_t len)
{
    bool  quoted = false;
    int   depth = 0;

    for (size_t i = 0; i < len; i++) {
        switch (text[i]) {
        case '\\':
            i += quoted;
            break;
        case '"':
            quoted = !quoted;
            break;
        case '{':
        case '[':
            depth += !quoted;
            break;
        case '}':
        case ']':
            depth -= !quoted;
            break;
        default:
            break;
        }

        if (depth > REST_DEPTH_MAX) {
            return false;
        }
    }

    return true;
}

/* Also RFC 7396's own type, where a body is one. */
static bool
body_is_json(const struct request *r)
{
    static const char *const  names[] = { "application/json", "application/merge-patch+json" };
    const char               *type = rest_request_header(r, "Content-Type");
    int                       n = strcmp(r->method, "PATCH") == 0 ? 2 : 1;
    size_t                    len;

    for (int i = 0; type && i < n; i++) {
        len = strlen(names[i]);

        if (strncasecmp(type, names[i], len) == 0 && strchr(" ;", type[len]) != NULL) {
            return true;
        }
    }

    return false;
}

static bool
body_parse(struct request *r)
{
    json_error_t  jerr;

    if (!body_is_json(r)) {
        return error_set(&r->err, ERR_MEDIA_TYPE,
                         "the body must be application/json");
    }

    if (!body_is_shallow((const char *) r->raw, r->raw_len)) {
        return error_set(&r->err, ERR_MALFORMED,
                         "the body is nested deeper than %d levels",
                         REST_DEPTH_MAX);
    }

    r->body = json_loadb((const char *) r->raw, r->raw_len,
                         JSON_REJECT_DUPLICATES, &jerr);

    /* jansson's text quotes the input, which is nobody else's business. */
    return r->body != NULL
           || error_set(&r->err, ERR_MALFORMED, "the body is not JSON of "
                        "RFC 8259 with unique names: line %d, column %d",
                        jerr.line, jerr.column);
}

bool
body_read(struct request *r)
{
    const struct message_bytes  *body = &r->message->body;

    if (body->len == 0 || strcmp(r->route->method, "GET") == 0) {
        return true;
    }

    r->raw = (const unsigned char *) body->bytes;
    r->raw_len = body->len;

    return (r->route->flags & ROUTE_BINARY) || body_parse(r);
}
