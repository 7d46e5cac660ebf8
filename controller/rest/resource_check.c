/* Checks a request body against its table of fields. */
#include "resource.h"

#include <string.h>

static enum field_mode
body_mode(const struct request *r, const json_t *current)
{
    return current == NULL ? FIELD_CREATE
           : strcmp(r->method, "PATCH") == 0 ? FIELD_MERGE : FIELD_REPLACE;
}

bool
resource_check(struct request *r, const struct field *fields,
    const json_t *current)
{
    enum field_mode        mode = body_mode(r, current);
    CLEANUP(json) json_t  *faults = json_array();

    if (!json_is_object(r->body)) {
        return error_set(&r->err, ERR_MALFORMED, "the body must be a JSON object");
    }

    if (!field_check(fields, r->body, current, mode, faults)) {
        r->errors = TAKE(faults);
        return field_error(r->errors, &r->err);
    }

    return field_complete(fields, r->body, current, mode)
           || error_set(&r->err, ERR_INTERNAL, "out of memory");
}

bool
resource_check_optional(struct request *r, const struct field *fields)
{
    return r->body == NULL || resource_check(r, fields, NULL);
}
