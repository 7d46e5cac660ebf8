/* What a row says of a field, in JSON Schema's words. */
#include "openapi_schema.h"

#include <stdio.h>
#include <string.h>

static const struct { const char *type, *format, *items; } types[T__MAX] = {
    [T_TEXT]   = { "string", NULL, NULL },
    [T_INT]    = { "integer", "int64", NULL },
    [T_BOOL]   = { "boolean", NULL, NULL },
    [T_TIME]   = { "string", "date-time", NULL },
    [T_OBJECT] = { "object", NULL, NULL },
    [T_TAGS]   = { "object", NULL, NULL },
    [T_TEXTS]  = { "array", NULL, "string" },
    [T_INTS]   = { "array", NULL, "integer" },
    [T_ROWS]   = { "array", NULL, "object" },
};

json_t *
schema_ref(const char *name, const char *suffix)
{
    return json_pack("{s:s++}", "$ref", "#/components/schemas/", name, suffix);
}

static void
schema_words(json_t *schema, const char *words)
{
    json_t  *list = json_array();
    size_t   n;

    for ( ; *words; words += n + (words[n] == ' ')) {
        n = strcspn(words, " ");
        json_array_append_new(list, json_stringn(words, n));
    }

    json_object_set_new(schema, "enum", list);
}

static void
schema_text(json_t *schema, const struct field *f, long long min, long long max)
{
    char  pattern[600];

    if (f->allowed) {
        schema_words(schema, f->allowed);
        return;
    }

    if (max) {
        json_object_set_new(schema, "minLength", json_integer(min));
        json_object_set_new(schema, "maxLength", json_integer(max));
    }

    if (f->pattern) {
        snprintf(pattern, sizeof(pattern), "^(?:%s)$", f->pattern);
        json_object_set_new(schema, "pattern", json_string(pattern));
    }
}

static void
schema_array(json_t *schema, const struct field *f)
{
    json_t  *items = f->of ? schema_object(f->of, SCHEMA_CREATE)
                           : json_pack("{s:s}", "type", types[f->type].items);

    if (f->type == T_TEXTS) {
        schema_text(items, f, 1, f->item_max);
    }

    if (f->type == T_INTS && f->item_max) {
        json_object_set_new(items, "minimum", json_integer(0));
        json_object_set_new(items, "maximum", json_integer(f->item_max));
    }

    json_object_set_new(schema, "items", items);

    if (f->max) {
        json_object_set_new(schema, "minItems", json_integer(f->min));
        json_object_set_new(schema, "maxItems", json_integer(f->max));
    }
}

/* An answer may hold what a request may not set: a status, say. */
static void
schema_rules(json_t *schema, const struct field *f, enum schema_kind kind)
{
    switch (f->type) {
    case T_TEXT:
        if (kind != SCHEMA_ANSWER) {
            schema_text(schema, f, f->min, f->max);
        }
        break;
    case T_INT:
        if ((f->min || f->max) && kind != SCHEMA_ANSWER) {
            json_object_set_new(schema, "minimum", json_integer(f->min));
            json_object_set_new(schema, "maximum", json_integer(f->max));
        }
        break;
    case T_TAGS:
        json_object_set_new(schema, "additionalProperties",
                            json_pack("{s:s}", "type", "string"));
        break;
    case T_TEXTS:
    case T_INTS:
    case T_ROWS:
        schema_array(schema, f);
        break;
    default:
        break;
    }
}

static json_t *
schema_field(const struct field *f, enum schema_kind kind)
{
    json_t  *schema = json_object();

    json_object_set_new(schema, "type",
        f->flags & F_NULL ? json_pack("[s,s]", types[f->type].type, "null")
                          : json_string(types[f->type].type));

    if (types[f->type].format) {
        json_object_set_new(schema, "format", json_string(types[f->type].format));
    }

    if (f->help) {
        json_object_set_new(schema, "description", json_string(f->help));
    }

    if (f->flags & F_READ) {
        json_object_set_new(schema, "readOnly", json_true());
    }

    schema_rules(schema, f, kind);

    return schema;
}

static bool
field_shown(const struct field *f, enum schema_kind kind)
{
    static const int  hidden[] = {
        [SCHEMA_ANSWER] = F_WRITE, [SCHEMA_CREATE] = F_READ, [SCHEMA_UPDATE] = 0
    };

    return !(f->flags & hidden[kind]);
}

json_t *
schema_object(const struct field *fields, enum schema_kind kind)
{
    json_t  *properties = json_object(), *required = json_array();
    json_t  *schema = json_pack("{s:s s:o}", "type", "object", "properties",
                                properties);

    for (const struct field *f = fields; f && f->name; f++) {
        if (!field_shown(f, kind)) {
            continue;
        }

        json_object_set_new(properties, f->name, schema_field(f, kind));

        if (kind == SCHEMA_CREATE && (f->flags & F_REQUIRED)) {
            json_array_append_new(required, json_string(f->name));
        }
    }

    if (kind != SCHEMA_ANSWER) {
        json_object_set_new(schema, "additionalProperties", json_false());
    }

    if (json_array_size(required)) {
        json_object_set(schema, "required", required);
    }

    json_decref(required);

    return schema;
}

bool
schema_takes_body(const struct field *fields)
{
    for (const struct field *f = fields; f && f->name; f++) {
        if (!(f->flags & F_READ)) {
            return true;
        }
    }

    return false;
}
