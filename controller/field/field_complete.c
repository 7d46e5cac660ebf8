/* From the object that a caller sent to the one that is stored. */
#include "field.h"

#include <stdlib.h>
#include <string.h>

/* The one of two names that says something new becomes the field. */
static void
take_alias(const struct field *f, json_t *object, const json_t *current)
{
    json_t  *value = json_object_get(object, f->name);
    json_t  *other = json_object_get(object, f->alias);

    if (value && (other == NULL
                  || !json_equal(value, json_object_get(current, f->name))))
    {
        json_object_set_new(object, f->alias, field_aliased(f, value));
    }

    json_object_del(object, f->name);
}

/* RFC 7396 2, for one level: null takes a member away.  A secret is not here:
 * its null goes to who has it. */
static bool
merge_object(json_t *object, const char *name, const json_t *was,
    const struct field *fields)
{
    json_t              *merged = json_copy((json_t *) was), *value;
    const struct field  *f;
    const char          *key;

    json_object_foreach(json_object_get(object, name), key, value) {
        f = field_find(fields, key);

        if (json_is_null(value) && !(f && (f->flags & F_SECRET))) {
            json_object_del(merged, key);
        } else {
            json_object_set(merged, key, value);
        }
    }

    return json_object_set_new(object, name, merged) == 0;
}

/* A configuration keeps what a change does not name, unless its type changes. */
static bool
merges(const struct field *f, const json_t *object, const json_t *current,
    enum field_mode mode)
{
    const json_t  *type = json_object_get(object, "type");

    if (!json_is_object(json_object_get(object, f->name))
        || !json_is_object(json_object_get(current, f->name)))
    {
        return false;
    }

    return f->kinds ? type == NULL || json_equal(type, json_object_get(current, "type"))
           : mode == FIELD_MERGE && (f->type == T_TAGS || f->type == T_OBJECT);
}

/* A text, or each of an array, as check's rule spells it. */
static bool
take_canonical(const struct field *f, json_t *value)
{
    json_t  *item;
    size_t   i;
    char    *text;
    bool     good;

    json_array_foreach(value, i, item) {
        if (!take_canonical(f, item)) {
            return false;
        }
    }

    if (!json_is_string(value)) {
        return true;
    }

    text = f->canonical(json_string_value(value));
    good = text && json_string_set(value, text) == 0;
    free(text);

    return good;
}

static bool
complete_field(const struct field *f, json_t *object, const json_t *current,
    enum field_mode mode)
{
    json_t                   *value = json_object_get(object, f->name);
    const struct field_kind  *kind;

    if (value && f->canonical && !take_canonical(f, value)) {
        return false;
    }

    if (value && f->kinds && json_is_string(value)) {
        kind = field_kind_find(f->kinds, json_string_value(value));
        return kind == NULL
               || json_object_set_new(object, f->name, json_string(kind->name)) == 0;
    }

    if (merges(f, object, current, mode)) {
        kind = f->kinds ? field_kind_of(f->kinds, object, current) : NULL;
        return merge_object(object, f->name, json_object_get(current, f->name),
                            kind ? kind->fields : NULL);
    }

    if ((f->flags & (F_READ | F_WRITE | F_SECRET)) || (current && (f->flags & F_FIXED))
        || (f->type == T_OBJECT && f->kinds))
    {
        return true;
    }

    if ((value == NULL && mode == FIELD_REPLACE)
        || (json_is_null(value) && !(f->flags & F_NULL)))
    {
        return json_object_set_new(object, f->name, field_default(f)) == 0;
    }

    return true;
}

bool
field_complete(const struct field *fields, json_t *object,
    const json_t *current, enum field_mode mode)
{
    for (const struct field *f = fields; f && f->name; f++) {
        if (f->alias) {
            take_alias(f, object, current);
        }
    }

    for (const struct field *f = fields; f && f->name; f++) {
        if (!f->alias && !complete_field(f, object, current, mode)) {
            return false;
        }
    }

    return true;
}
