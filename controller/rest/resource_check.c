/* Checks a request body against its field table: types, rules, flags. */
#include "resource.h"
#include "rest_pattern.h"

#include <string.h>

static const struct { const char *name; json_type json; } types[T__MAX] = {
    [T_TEXT]   = { "a string", JSON_STRING },
    [T_INT]    = { "an integer", JSON_INTEGER },
    [T_BOOL]   = { "true or false", JSON_TRUE },
    [T_TIME]   = { "an RFC 3339 time", JSON_STRING },
    [T_OBJECT] = { "an object", JSON_OBJECT },
    [T_TAGS]   = { "an object of strings", JSON_OBJECT },
    [T_TEXTS]  = { "an array of strings", JSON_ARRAY },
    [T_INTS]   = { "an array of integers", JSON_ARRAY },
    [T_ROWS]   = { "an array of objects", JSON_ARRAY },
};

#define TEXT_MAX    1000
#define ARRAY_MAX   100
#define TAGS_MAX    50

static bool check_value(const struct request *r, const struct field *f,
    const json_t *value, struct error *err);

static bool
words_hold(const char *words, const char *word)
{
    size_t  len = strlen(word), n;

    for ( ; *words; words += n + (words[n] == ' ')) {
        n = strcspn(words, " ");
        if (n == len && memcmp(words, word, n) == 0) {
            return true;
        }
    }

    return false;
}

static bool
check_text(const struct request *r, const struct field *f, const json_t *value,
    long long max, struct error *err)
{
    const char  *text = json_string_value(value);
    long long    len = json_string_length(value);

    if (f->allowed && !words_hold(f->allowed, text)) {
        return error_set(err, ERR_INVALID, "%s must be one of: %s",
                         f->name, f->allowed);
    }

    if (len < f->min || len > (max ? max : TEXT_MAX)) {
        return error_set(err, ERR_INVALID, "%s must have %lld to %lld bytes",
                         f->name, f->min, max ? max : TEXT_MAX);
    }

    if (f->pattern && !pattern_matches(r->patterns, f->pattern, text, len)) {
        return error_set(err, ERR_INVALID, "%s must match %s", f->name, f->pattern);
    }

    if (f->check && !f->check(text, err)) {
        return error_prefix(err, "%s", f->name);
    }

    return true;
}

static bool
two_digits(const char *p, int min, int max)
{
    int  n = (p[0] - '0') * 10 + (p[1] - '0');

    return p[0] >= '0' && p[0] <= '9' && p[1] >= '0' && p[1] <= '9'
           && n >= min && n <= max;
}

/* That February has no 30th the database says. */
bool
resource_is_time(const char *p)
{
    size_t  digits;

    if (strlen(p) < 20 || !two_digits(p, 0, 99) || !two_digits(p + 2, 0, 99)
        || p[4] != '-' || !two_digits(p + 5, 1, 12)
        || p[7] != '-' || !two_digits(p + 8, 1, 31)
        || (p[10] != 'T' && p[10] != 't') || !two_digits(p + 11, 0, 23)
        || p[13] != ':' || !two_digits(p + 14, 0, 59)
        || p[16] != ':' || !two_digits(p + 17, 0, 59)
        || memcmp(p, "0000", 4) == 0)
    {
        return false;
    }

    p += 19;
    if (*p == '.') {
        digits = strspn(p + 1, "0123456789");
        if (digits == 0 || digits > 9) {
            return false;
        }
        p += 1 + digits;
    }

    if (*p == 'Z' || *p == 'z') {
        return p[1] == '\0';
    }

    return (*p == '+' || *p == '-') && strlen(p) == 6
           && two_digits(p + 1, 0, 14) && p[3] == ':' && two_digits(p + 4, 0, 59);
}

static bool
check_int(const struct field *f, const json_t *value, struct error *err)
{
    long long  number = json_integer_value(value);

    if ((f->min || f->max) && (number < f->min || number > f->max)) {
        return error_set(err, ERR_INVALID, "%s must be between %lld and %lld",
                         f->name, f->min, f->max);
    }

    return number >= INT32_MIN && number <= INT32_MAX ? true
           : error_set(err, ERR_INVALID, "%s is out of range", f->name);
}

static bool
check_tags(const struct field *f, json_t *value, struct error *err)
{
    const char  *key;
    json_t      *tag;

    if (json_object_size(value) > TAGS_MAX) {
        return error_set(err, ERR_INVALID, "%s has at most %d entries", f->name,
                         TAGS_MAX);
    }

    json_object_foreach(value, key, tag) {
        if (!json_is_string(tag)) {
            return error_set(err, ERR_MALFORMED, "%s.%.60s must be a string",
                             f->name, key);
        }

        if (strlen(key) > 100 || json_string_length(tag) > 500) {
            return error_set(err, ERR_INVALID,
                             "%s: a key has at most 100 bytes, a value 500",
                             f->name);
        }
    }

    return true;
}

/* The fields of one element: as strict as those of a body. */
static bool
check_row(const struct request *r, const struct field *f, json_t *row,
    struct error *err)
{
    const struct field  *of;
    const char          *key;
    json_t              *value;

    if (!json_is_object(row)) {
        return error_set(err, ERR_MALFORMED, "%s must be %s", f->name,
                         types[f->type].name);
    }

    json_object_foreach(row, key, value) {
        for (of = f->of; of->name && strcmp(of->name, key) != 0; of++) { }

        if (of->name == NULL) {
            return error_set(err, ERR_MALFORMED, "%s has no field \"%.60s\"",
                             f->name, key);
        }

        if (!check_value(r, of, value, err)) {
            return error_prefix(err, "%s", f->name);
        }
    }

    for (of = f->of; of->name; of++) {
        if ((of->flags & F_REQUIRED) && json_object_get(row, of->name) == NULL) {
            return error_set(err, ERR_MALFORMED, "%s.%s is required", f->name,
                             of->name);
        }
    }

    return true;
}

static bool
check_array(const struct request *r, const struct field *f, json_t *value,
    struct error *err)
{
    long long  n = json_array_size(value), max = f->max ? f->max : ARRAY_MAX;
    json_type  item_type = f->type == T_INTS ? JSON_INTEGER : JSON_STRING;
    json_t    *item;
    size_t     i;

    if (n < f->min || n > max) {
        return error_set(err, ERR_INVALID, "%s must have %lld to %lld elements, "
                         "not %lld", f->name, f->min, max, n);
    }

    json_array_foreach(value, i, item) {
        if (f->type == T_ROWS) {
            if (!check_row(r, f, item, err)) {
                return false;
            }
            continue;
        }

        if (json_typeof(item) != item_type) {
            return error_set(err, ERR_MALFORMED, "%s must be %s", f->name,
                             types[f->type].name);
        }

        if (f->type == T_TEXTS) {
            struct field  one = *f;

            one.min = 1;
            if (!check_text(r, &one, item, f->item_max, err)) {
                return false;
            }

        } else if (json_integer_value(item) < 0
                   || json_integer_value(item) > f->item_max)
        {
            return error_set(err, ERR_INVALID,
                             "%s: an element is between 0 and %lld", f->name,
                             f->item_max);
        }
    }

    return true;
}

static bool
check_value(const struct request *r, const struct field *f,
    const json_t *value, struct error *err)
{
    json_type  type = json_is_boolean(value) ? JSON_TRUE : json_typeof(value);

    if (type == JSON_NULL && (f->flags & F_NULL)) {
        return true;
    }

    if (type != types[f->type].json) {
        return error_set(err, ERR_MALFORMED, "%s must be %s%s", f->name,
                         types[f->type].name, f->flags & F_NULL ? " or null" : "");
    }

    switch (f->type) {
    case T_TEXT:
        return check_text(r, f, value, f->max, err);
    case T_INT:
        return check_int(f, value, err);
    case T_TIME:
        return resource_is_time(json_string_value(value))
               || error_set(err, ERR_MALFORMED, "%s must be an RFC 3339 time, "
                            "such as 2026-01-31T00:00:00Z", f->name);
    case T_TAGS:
        return check_tags(f, (json_t *) value, err);
    case T_TEXTS:
    case T_INTS:
    case T_ROWS:
        return check_array(r, f, (json_t *) value, err);
    default:
        return true;
    }
}

static bool
check_field(struct request *r, const struct field *fields, const char *key,
    const json_t *value, const json_t *current)
{
    const struct field  *f;
    const json_t        *was;

    for (f = fields; f && f->name && strcmp(f->name, key) != 0; f++) { }

    if (f == NULL || f->name == NULL) {
        return error_set(&r->err, ERR_MALFORMED, "unknown field \"%.60s\"", key);
    }

    was = current ? json_object_get(current, key) : NULL;

    if (was && (f->flags & (F_READ | F_FIXED)) && json_equal(was, value)) {
        return true;
    }

    if (f->flags & F_READ) {
        return error_set(&r->err, current ? ERR_INVALID : ERR_MALFORMED,
                         "%s is set by the server", key);
    }

    if (current && (f->flags & F_FIXED)) {
        return error_set(&r->err, ERR_INVALID, "%s never changes", key);
    }

    return check_value(r, f, value, &r->err);
}

bool
resource_check(struct request *r, const struct field *fields,
    const json_t *current)
{
    const char  *key;
    json_t      *value;

    if (!json_is_object(r->body)) {
        return error_set(&r->err, ERR_MALFORMED, "the body must be a JSON object");
    }

    json_object_foreach(r->body, key, value) {
        if (!check_field(r, fields, key, value, current)) {
            return false;
        }
    }

    for (const struct field *f = fields; f && f->name && !current; f++) {
        if ((f->flags & F_REQUIRED) && json_object_get(r->body, f->name) == NULL) {
            return error_set(&r->err, ERR_MALFORMED, "%s is required", f->name);
        }
    }

    return true;
}
