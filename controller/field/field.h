/*
 * What a field is.  One table of rows checks the bodies of the REST API and the
 * configurations of issuers, targets and the daemon, and prints them as JSON
 * Schema and as documents.
 */
#pragma once
#include "error.h"
#include <jansson.h>
#include <stddef.h>

enum field_type {
    T_TEXT, T_INT, T_BOOL,
    T_TIME,             /* RFC 3339 5.6 date-time */
    T_OBJECT,           /* any object, or one of kinds */
    T_TAGS,             /* object whose values are strings */
    T_TEXTS, T_INTS,    /* arrays */
    T_ROWS,             /* array of objects: of */
    T__MAX
};

enum field_flags {
    F_REQUIRED = 1,     /* at creation, and when an object is replaced */
    F_FIXED    = 2,     /* set at creation, or never changes */
    F_READ     = 4,     /* the server's own: may be sent back unchanged */
    F_NULL     = 8,     /* null clears it */
    F_WRITE    = 16,    /* accepted, never answered */
    F_SECRET   = 32,    /* accepted, sealed when stored, never answered or shown */
    F_RARE     = 64     /* not in every answer */
};

/*
 * min and max bound a number's value, a text's length in bytes, an array's
 * length and, with item_max, the bytes of its texts; both 0: the type's own.
 */
struct field {
    const char                      *name;
    enum field_type                  type;
    int                              flags;
    long long                        min, max;
    long long                        item_max;
    const char                      *pattern;  /* PCRE2, for the whole text */
    const char                      *allowed;  /* "a b c": one of these words */
    bool                           (*check)(const char *text, struct error *err);
    char                          *(*canonical)(const char *text);  /* what is stored
                                                  of a text that check accepts; free() */
    const struct field              *of;       /* T_ROWS: the fields of an element */
    const char                      *help;
    const char                      *init;     /* what it is unless given, as JSON;
                                                  NULL: null, or nothing */
    const char                      *answers;  /* "a b c": what the server makes of
                                                  it, where that is more than allowed */
    const char                      *alias;    /* it is another name of this field */
    long long                        factor;   /* its number times this; 0: 1 */
    const struct field_kind *const  *kinds;    /* T_TEXT: names one of these;
                                                  T_OBJECT: has the fields of the one
                                                  that "type" beside it names */
    size_t                           offset;   /* where a C struct keeps it: char *,
                                                  int or bool (conf/) */
};

/* A kind of connector: its type, other names of it, and its configuration. */
struct field_kind {
    const char          *name;
    const char *const   *aliases;     /* NULL-terminated, or NULL */
    const char          *schema;      /* of its configuration: "LocalConfig" */
    const char          *help;
    const struct field  *fields;      /* NULL name ends */
};

/* By name or alias, letter case ignored; NULL when there is none. */
const struct field_kind *field_kind_find(const struct field_kind *const *kinds,
    const char *name);

/* The kind that the member "type" of object names, or of current, or the first:
 * what an object without a type means. */
const struct field_kind *field_kind_of(const struct field_kind *const *kinds,
    const json_t *object, const json_t *current);

/* NULL when no row has this name. */
const struct field *field_find(const struct field *fields, const char *name);

/* What is being done with an object. */
enum field_mode {
    FIELD_CREATE,       /* it is made: required fields must be there */
    FIELD_REPLACE,      /* PUT: the same, and what is missing gets its default */
    FIELD_MERGE,        /* PATCH (RFC 7396): what is missing stays */
    FIELD_STORED        /* the whole of it, with what the server has set */
};

#define FIELD_FAULTS_MAX  20

/*
 * Checks object against fields and appends each fault to faults, an array of
 * {"pointer": RFC 6901, "detail": a sentence}, up to FIELD_FAULTS_MAX.
 * current is the object that is changed, NULL at creation.  False when there
 * are faults.
 */
bool field_check(const struct field *fields, const json_t *object,
    const json_t *current, enum field_mode mode, json_t *faults);

/* The same for an object that is the member name of a body. */
bool field_check_member(const char *name, const struct field *fields,
    const json_t *object, const json_t *current, enum field_mode mode,
    json_t *faults);

/* The first of faults as ERR_INVALID, its pointer included. */
bool field_error(const json_t *faults, struct error *err);

/*
 * Makes of an object that field_check() has accepted the one that is stored:
 * aliases become their fields, other names of a type its name, objects are
 * merged into what they change, a replacement gets the defaults.
 */
bool field_complete(const struct field *fields, json_t *object,
    const json_t *current, enum field_mode mode);

/* The default as JSON (json_decref); JSON null where there is none. */
json_t *field_default(const struct field *f);

/* The value of f, which is an alias, as the field has it (json_decref). */
json_t *field_aliased(const struct field *f, json_t *value);

/* RFC 3339 5.6 date-time. */
bool field_is_time(const char *text);

/* What it may be, in words: "1 to 64"; "" when any value of its type will do. */
void field_rule(const struct field *f, char *out, size_t size);

/* Whether word is one of words, which spaces separate. */
bool field_word_in(const char *words, const char *word);

/* Whether the whole text matches, in a bounded number of steps; a pattern that
 * does not compile matches nothing. */
bool field_matches(const char *pattern, const char *text, size_t len);

/* The same; FIELD_UNDECIDED when the steps do not suffice, or it does not compile. */
enum field_match { FIELD_DIFFERS, FIELD_MATCHES, FIELD_UNDECIDED };
enum field_match field_match(const char *pattern, const char *text, size_t len);

/*
 * Checks of fields.  A pattern compiles (PCRE2); a label is what people call an
 * object: text that is seen as it is stored, empty where min is 0.
 */
bool field_check_pattern(const char *text, struct error *err);
bool field_check_label(const char *text, struct error *err);
