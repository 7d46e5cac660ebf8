/* What a row says of a field, in JSON Schema's words. */
#include "field_schema.h"

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

const char *const  schema_suffixes[SCHEMA__MAX] = {
    [SCHEMA_ANSWER] = "", [SCHEMA_CREATE] = "Create",
    [SCHEMA_REPLACE] = "Replace", [SCHEMA_MERGE] = "Merge"
};

json_t *
schema_ref(const char *name, const char *suffix)
{
    return json_pack("{s:s++}", "$ref", "#/components/schemas/", name, suffix);
}

static void
schema_words(json_t *schema, const char *words, bool null)
{
    json_t  *list = json_array();
    size_t   n;

    for ( ; *words; words += n + (words[n] == ' ')) {
        n = strcspn(words, " ");
        json_array_append_new(list, json_stringn(words, n));
    }

    if (null) {
        json_array_append_new(list, json_null());
    }

    json_object_set_new(schema, "enum", list);
}

/* The names that a kind has, in lists of words. */
static json_t *
kind_names(const struct field_kind *kind)
{
    json_t  *names = json_array();

    json_array_append_new(names, json_string(kind->name));

    for (const char *const *a = kind->aliases; a && *a; a++) {
        json_array_append_new(names, json_string(*a));
    }

    return names;
}

static void
schema_text(json_t *schema, const struct field *f, long long min, long long max,
    bool null)
{
    char  pattern[600];

    if (f->allowed) {
        schema_words(schema, f->allowed, null);
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
schema_array(json_t *schema, const struct field *f, enum schema_kind kind)
{
    json_t  *items = f->of ? schema_object(f->of, kind == SCHEMA_ANSWER ? kind : SCHEMA_CREATE)
                           : json_pack("{s:s}", "type", types[f->type].items);

    json_object_set_new(schema, "items", items);

    if (kind == SCHEMA_ANSWER) {
        return;
    }

    if (f->type == T_TEXTS) {
        schema_text(items, f, 1, f->item_max, false);
    }

    if (f->type == T_INTS && f->item_max) {
        json_object_set_new(items, "minimum", json_integer(0));
        json_object_set_new(items, "maximum", json_integer(f->item_max));
    }

    if (f->max) {
        json_object_set_new(schema, "minItems", json_integer(f->min));
        json_object_set_new(schema, "maxItems", json_integer(f->max));
    }
}

/* An answer may hold what a request may not set: its words only are told. */
static void
schema_rules(json_t *schema, const struct field *f, enum schema_kind kind, bool null)
{
    switch (f->type) {
    case T_TEXT:
        if (kind > SCHEMA_CREATE && (f->flags & F_FIXED) && f->answers) {
            schema_words(schema, f->answers, null);
        } else if (kind != SCHEMA_ANSWER) {
            schema_text(schema, f, f->min, f->max, null);
        } else if (f->answers || f->allowed) {
            schema_words(schema, f->answers ? f->answers : f->allowed, null);
        }
        break;
    case T_INT:
        if ((f->min || f->max) && kind != SCHEMA_ANSWER) {
            json_object_set_new(schema, "minimum", json_integer(f->min));
            json_object_set_new(schema, "maximum", json_integer(f->max));
        }
        break;
    case T_TAGS:
        json_object_set_new(schema, "additionalProperties", kind == SCHEMA_MERGE
                            ? json_pack("{s:[s,s]}", "type", "string", "null")
                            : json_pack("{s:s}", "type", "string"));
        break;
    case T_TEXTS:
    case T_INTS:
    case T_ROWS:
        schema_array(schema, f, kind);
        break;
    default:
        break;
    }
}

static bool
field_shown(const struct field *f, enum schema_kind kind)
{
    static const int  hidden[SCHEMA__MAX] = {
        [SCHEMA_ANSWER] = F_WRITE | F_SECRET, [SCHEMA_CREATE] = F_READ
    };

    return !(f->flags & hidden[kind]);
}

/* In a merge null takes away what need not be there. */
static bool
takes_null(const struct field *f, enum schema_kind kind)
{
    return (f->flags & F_NULL) || (kind == SCHEMA_MERGE && !(f->flags & F_REQUIRED));
}

static json_t *
schema_field(const struct field *f, enum schema_kind kind)
{
    json_t  *schema = json_object();
    bool     null = takes_null(f, kind);

    json_object_set_new(schema, "type",
        null ? json_pack("[s,s]", types[f->type].type, "null")
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

    if (f->flags & (F_WRITE | F_SECRET)) {
        json_object_set_new(schema, "writeOnly", json_true());
    }

    if (f->init && kind != SCHEMA_ANSWER && kind != SCHEMA_MERGE) {
        json_object_set_new(schema, "default", field_default(f));
    }

    schema_rules(schema, f, kind, null);

    return schema;
}

/* An answer has every field; a request those that it must have. */
static bool
field_required(const struct field *f, enum schema_kind kind)
{
    switch (kind) {
    case SCHEMA_ANSWER:
        return !(f->flags & F_RARE);
    case SCHEMA_MERGE:
        return false;
    default:
        return (f->flags & F_REQUIRED) && !(kind == SCHEMA_REPLACE && (f->flags & F_FIXED));
    }
}

/*
 * config is one of several, by the member "type".  The first kind is what a
 * request without a type means; in an answer and at creation type decides, in
 * a change, which may leave it out, any of them will do.
 */
static json_t *
schema_choice(const struct field *config, const struct field *type,
    enum schema_kind kind)
{
    json_t  *list = json_array(), *one, *names;

    for (const struct field_kind *const *k = config->kinds; *k; k++) {
        names = kind == SCHEMA_ANSWER ? json_pack("[s]", (*k)->name) : kind_names(*k);
        one = json_pack("{s:{s:{s:o}, s:o}}", "properties", "type", "enum", names,
                        config->name, schema_ref((*k)->schema, schema_suffixes[kind]));

        if (kind == SCHEMA_ANSWER || (type->flags & F_REQUIRED) || k != config->kinds) {
            json_object_set_new(one, "required", json_pack("[s]", "type"));
        }

        json_array_append_new(list, one);
    }

    return list;
}

/* Where in a configuration every field is the connector's to leave out. */
static json_t *
schema_fields(const struct field *fields, enum schema_kind kind, bool config)
{
    json_t  *properties = json_object(), *required = json_array();
    json_t  *schema = json_pack("{s:s s:o}", "type", "object", "properties",
                                properties);

    for (const struct field *f = fields; f && f->name; f++) {
        if (!field_shown(f, kind)) {
            continue;
        }

        json_object_set_new(properties, f->name, schema_field(f, kind));

        if (field_required(f, kind) && !(config && kind == SCHEMA_ANSWER)) {
            json_array_append_new(required, json_string(f->name));
        }

        if (f->type == T_OBJECT && f->kinds) {
            json_object_set_new(schema, kind < SCHEMA_REPLACE ? "oneOf" : "anyOf",
                schema_choice(f, field_find(fields, "type"), kind));
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

json_t *
schema_object(const struct field *fields, enum schema_kind kind)
{
    return schema_fields(fields, kind, false);
}

void
schema_kinds(const struct field *fields, enum schema_kind kind, json_t *schemas)
{
    char  name[100];

    for (const struct field *f = fields; f && f->name; f++) {
        for (const struct field_kind *const *k = f->type == T_OBJECT ? f->kinds : NULL;
             k && *k; k++)
        {
            snprintf(name, sizeof(name), "%s%s", (*k)->schema, schema_suffixes[kind]);
            json_object_set_new(schemas, name,
                schema_fields((*k)->fields, kind == SCHEMA_REPLACE ? SCHEMA_MERGE : kind, true));
        }
    }
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
