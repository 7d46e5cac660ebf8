/* Checks an object against its table of fields, and names every fault. */
#include "field.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define TEXT_MAX     1000
#define ARRAY_MAX    100
#define TAGS_MAX     50
#define POINTER_MAX  200

static const struct { const char *name; json_type json; } types[T__MAX] = {
    [T_TEXT]   = { "a string", JSON_STRING },
    [T_INT]    = { "an integer", JSON_INTEGER },
    [T_BOOL]   = { "true or false", JSON_TRUE },
    [T_TIME]   = { "an RFC 3339 time, such as 2026-01-31T00:00:00Z", JSON_STRING },
    [T_OBJECT] = { "an object", JSON_OBJECT },
    [T_TAGS]   = { "an object of strings", JSON_OBJECT },
    [T_TEXTS]  = { "an array of strings", JSON_ARRAY },
    [T_INTS]   = { "an array of integers", JSON_ARRAY },
    [T_ROWS]   = { "an array of objects", JSON_ARRAY },
};

/* Where in the body a value stands. */
struct place {
    const struct place  *above;
    const char          *name;         /* of a member; NULL: an element */
    size_t               index;
};

static void check_object(const struct field *fields, const json_t *object,
    const json_t *current, enum field_mode mode, const struct place *at,
    json_t *faults);

/* RFC 6901 3: "~" and "/" of a name are written as ~0 and ~1. */
static size_t
pointer_print(const struct place *at, char *out, size_t size)
{
    size_t  n = at->above ? pointer_print(at->above, out, size) : 0;

    if (at->name == NULL) {
        return at->above ? n + (size_t) snprintf(out + n, size - n, "/%zu", at->index)
                         : 0;
    }

    out[n++] = '/';

    for (const char *p = at->name; *p && n + 3 < size; p++) {
        if (*p == '~' || *p == '/') {
            out[n++] = '~';
            out[n++] = *p == '~' ? '0' : '1';
        } else {
            out[n++] = *p;
        }
    }

    out[n] = '\0';

    return n;
}

/* "config.ocsp_url": how a sentence names a place. */
static void
place_print(const struct place *at, char *out, size_t size)
{
    size_t  n = 0;

    *out = '\0';

    if (at->above && (at->above->above || at->above->name)) {
        place_print(at->above, out, size);
        n = strlen(out);
    }

    if (at->name) {
        snprintf(out + n, size - n, "%s%.60s", n ? "." : "", at->name);
    } else if (at->above) {
        snprintf(out + n, size - n, "[%zu]", at->index);
    }
}

/* fmt goes on behind the name of the place. */
static void __attribute__((format(printf, 3, 4)))
fault(json_t *faults, const struct place *at, const char *fmt, ...)
{
    va_list  ap;
    char     pointer[POINTER_MAX] = "", detail[400];
    size_t   n;

    if (json_array_size(faults) >= FIELD_FAULTS_MAX) {
        return;
    }

    pointer_print(at, pointer, sizeof(pointer) - 16);
    place_print(at, detail, 200);
    n = strlen(detail);

    va_start(ap, fmt);
    vsnprintf(detail + n, sizeof(detail) - n, fmt, ap);
    va_end(ap);

    json_array_append_new(faults, json_pack("{s:s, s:s+}", "pointer", pointer,
                                            "detail", detail, ""));
}

bool
field_word_in(const char *words, const char *word)
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

/* All names of kinds: "local, local_ca, GenericCA". */
static void
kinds_print(const struct field_kind *const *kinds, char *out, size_t size)
{
    size_t  n = 0;

    for ( ; *kinds && n < size; kinds++) {
        n += (size_t) snprintf(out + n, size - n, "%s%s", n ? ", " : "", (*kinds)->name);

        for (const char *const *a = (*kinds)->aliases; a && *a && n < size; a++) {
            n += (size_t) snprintf(out + n, size - n, ", %s", *a);
        }
    }
}

static void
check_text(const struct field *f, const json_t *value, long long min,
    long long max, const struct place *at, json_t *faults)
{
    const char    *text = json_string_value(value);
    long long      len = (long long) json_string_length(value);
    struct error   err = { 0 };
    char           names[300];

    if (f->kinds && field_kind_find(f->kinds, text) == NULL) {
        kinds_print(f->kinds, names, sizeof(names));
        fault(faults, at, " must be one of: %s", names);

    } else if (f->allowed && !field_word_in(f->allowed, text)) {
        fault(faults, at, " must be one of: %s", f->allowed);

    } else if (len < min || len > (max ? max : TEXT_MAX)) {
        fault(faults, at, " must have %lld to %lld bytes", min, max ? max : TEXT_MAX);

    } else if (f->pattern && !field_matches(f->pattern, text, (size_t) len)) {
        fault(faults, at, " must match %s", f->pattern);

    } else if (f->check && !f->check(text, &err)) {
        fault(faults, at, ": %s", err.detail);
    }
}

static void
check_int(const struct field *f, const json_t *value, const struct place *at,
    json_t *faults)
{
    long long  number = json_integer_value(value);
    bool       bounded = f->min || f->max;
    long long  min = bounded ? f->min : INT32_MIN, max = bounded ? f->max : INT32_MAX;

    if (number < min || number > max) {
        fault(faults, at, " must be between %lld and %lld", min, max);
    }
}

static void
check_tags(json_t *value, enum field_mode mode, const struct place *at,
    json_t *faults)
{
    const char  *key;
    json_t      *tag;

    if (json_object_size(value) > TAGS_MAX) {
        fault(faults, at, " has at most %d entries", TAGS_MAX);
    }

    json_object_foreach(value, key, tag) {
        struct place  in = { .above = at, .name = key };

        if (mode == FIELD_MERGE && json_is_null(tag)) {
            continue;
        }

        if (!json_is_string(tag)) {
            fault(faults, &in, " must be a string");

        } else if (strlen(key) > 100 || json_string_length(tag) > 500) {
            fault(faults, &in, " is too long: a key has at most 100 bytes, a value 500");
        }
    }
}

static void
check_item(const struct field *f, json_t *item, const struct place *at,
    json_t *faults)
{
    json_type  type = f->type == T_INTS ? JSON_INTEGER
                      : f->type == T_ROWS ? JSON_OBJECT : JSON_STRING;

    if (json_typeof(item) != type) {
        fault(faults, at->above, " must be %s", types[f->type].name);

    } else if (f->type == T_ROWS) {
        check_object(f->of, item, NULL, FIELD_CREATE, at, faults);

    } else if (f->type == T_TEXTS) {
        check_text(f, item, 1, f->item_max, at, faults);

    } else if (json_integer_value(item) < 0 || json_integer_value(item) > f->item_max) {
        fault(faults, at, " must be between 0 and %lld", f->item_max);
    }
}

static void
check_array(const struct field *f, json_t *value, const struct place *at,
    json_t *faults)
{
    long long  n = (long long) json_array_size(value), max = f->max ? f->max : ARRAY_MAX;
    json_t    *item;
    size_t     i;

    if (n < f->min || n > max) {
        fault(faults, at, " must have %lld to %lld elements, not %lld", f->min, max, n);
        return;
    }

    json_array_foreach(value, i, item) {
        struct place  in = { .above = at, .index = i };

        check_item(f, item, &in, faults);
    }
}

/* beside: the object that f is a member of; its "type" may say what f holds. */
static void
check_config(const struct field *f, const json_t *beside, const json_t *value,
    const json_t *current, enum field_mode mode, const struct place *at,
    json_t *faults)
{
    const struct field_kind  *kind = field_kind_of(f->kinds, beside, current);

    if (kind == NULL) {
        return;
    }

    /* of another type: nothing of the old one stays */
    if (current == NULL || kind != field_kind_of(f->kinds, current, NULL)) {
        check_object(kind->fields, value, NULL, FIELD_CREATE, at, faults);
    } else {
        check_object(kind->fields, value, json_object_get(current, f->name),
                     mode == FIELD_CREATE ? mode : FIELD_MERGE, at, faults);
    }
}

static void
check_value(const struct field *f, const json_t *value, enum field_mode mode,
    const struct place *at, json_t *faults)
{
    json_type  type = json_is_boolean(value) ? JSON_TRUE : json_typeof(value);
    char       range[60] = "";

    if (type != types[f->type].json
        || (f->type == T_TIME && !field_is_time(json_string_value(value))))
    {
        if (f->type == T_INT && (f->min || f->max)) {
            snprintf(range, sizeof(range), " between %lld and %lld", f->min, f->max);
        }

        fault(faults, at, " must be %s%s%s", types[f->type].name, range,
              f->flags & F_NULL ? " or null" : "");
        return;
    }

    switch (f->type) {
    case T_TEXT:
        check_text(f, value, f->min, f->max, at, faults);
        break;
    case T_INT:
        check_int(f, value, at, faults);
        break;
    case T_TAGS:
        check_tags((json_t *) value, mode, at, faults);
        break;
    case T_TEXTS:
    case T_INTS:
    case T_ROWS:
        check_array(f, (json_t *) value, at, faults);
        break;
    default:
        break;
    }
}

/* A new type whose configuration is not sent: the old one has to fit. */
static void
check_type_change(const struct field *fields, const json_t *object,
    const json_t *current, enum field_mode mode, const struct place *at,
    json_t *faults)
{
    const json_t  *config;

    for (const struct field *f = fields; current && f->name; f++) {
        struct place  in = { .above = at, .name = f->name };

        config = json_object_get(current, f->name);

        if (f->type == T_OBJECT && f->kinds && config && !json_object_get(object, f->name)) {
            check_config(f, object, config, current, mode, &in, faults);
        }
    }
}

/* In a merge null takes away what need not be there. */
static bool
null_fits(const struct field *f, enum field_mode mode)
{
    return (f->flags & F_NULL) || (mode == FIELD_MERGE && !(f->flags & F_REQUIRED));
}

/* One member of object, which current may have too. */
static void
check_member(const struct field *fields, const char *name, const json_t *value,
    const json_t *object, const json_t *current, enum field_mode mode,
    const struct place *at, json_t *faults)
{
    const struct field  *f = field_find(fields, name);
    const json_t        *was = current ? json_object_get(current, name) : NULL;

    if (f == NULL) {
        fault(faults, at, " is an unknown field");
        return;
    }

    /* what stays is not judged again: its rule may be younger than the object */
    if (was && ((f->flags & (F_READ | F_FIXED)) || f->check) && json_equal(was, value)) {
        return;
    }

    if ((f->flags & F_READ) && mode != FIELD_STORED) {
        fault(faults, at, " is set by the server");

    } else if (current && (f->flags & F_FIXED)) {
        fault(faults, at, " never changes");

    } else if (!json_is_null(value) || !null_fits(f, mode)) {
        check_value(f, value, mode, at, faults);

        if (f->type == T_OBJECT && f->kinds && json_is_object(value)) {
            check_config(f, object, value, current, mode, at, faults);
        }

        if (f->type == T_TEXT && f->kinds) {
            check_type_change(fields, object, current, mode, at->above, faults);
        }
    }
}

/* Two names of one field: both at once only when they agree, or one of them is
 * what it was before. */
static void
check_alias(const struct field *f, const json_t *object, const json_t *current,
    const struct place *at, json_t *faults)
{
    json_t        *a = field_aliased(f, json_object_get(object, f->name));
    const json_t  *b = json_object_get(object, f->alias);

    if (a && b && !json_equal(a, b)
        && !json_equal(json_object_get(object, f->name), json_object_get(current, f->name))
        && !json_equal(b, json_object_get(current, f->alias)))
    {
        fault(faults, at, " is another name of %s, and they differ", f->alias);
    }

    json_decref(a);
}

static bool
is_given(const struct field *fields, const json_t *object, const struct field *f)
{
    if (json_object_get(object, f->name)) {
        return true;
    }

    for (const struct field *a = fields; a->name; a++) {
        if (a->alias && strcmp(a->alias, f->name) == 0 && json_object_get(object, a->name)) {
            return true;
        }
    }

    return false;
}

static void
check_object(const struct field *fields, const json_t *object,
    const json_t *current, enum field_mode mode, const struct place *at,
    json_t *faults)
{
    static const struct field  none = { 0 };
    const char                *name;
    json_t                    *value;

    fields = fields ? fields : &none;

    json_object_foreach((json_t *) object, name, value) {
        struct place  in = { .above = at, .name = name };

        check_member(fields, name, value, object, current, mode, &in, faults);
    }

    for (const struct field *f = fields; f->name; f++) {
        struct place  in = { .above = at, .name = f->name };

        if (f->alias) {
            check_alias(f, object, current, &in, faults);
        }

        if (mode != FIELD_MERGE && (f->flags & F_REQUIRED)
            && !(current && (f->flags & F_FIXED)) && !is_given(fields, object, f))
        {
            fault(faults, &in, " is required");
        }
    }
}

bool
field_check(const struct field *fields, const json_t *object,
    const json_t *current, enum field_mode mode, json_t *faults)
{
    const struct place  top = { 0 };

    check_object(fields, object, current, mode, &top, faults);

    return json_array_size(faults) == 0;
}

bool
field_check_member(const char *name, const struct field *fields,
    const json_t *object, const json_t *current, enum field_mode mode,
    json_t *faults)
{
    const struct place  top = { 0 }, at = { .above = &top, .name = name };

    check_object(fields, object, current, mode, &at, faults);

    return json_array_size(faults) == 0;
}

bool
field_error(const json_t *faults, struct error *err)
{
    const json_t  *first = json_array_get(faults, 0);
    size_t         n = json_array_size(faults);

    error_set(err, ERR_INVALID, "%s%s",
              json_string_value(json_object_get(first, "detail")),
              n > 1 ? " (and more: see errors)" : "");
    snprintf(err->pointer, sizeof(err->pointer), "%s",
             json_string_value(json_object_get(first, "pointer")));

    return false;
}
