/*
 * A REST resource as a table: its fields, filters and statements.  The same
 * tables check request bodies and print the OpenAPI document.
 */
#pragma once
#include "rest.h"

enum field_type {
    T_TEXT, T_INT, T_BOOL, T_TIME, T_OBJECT,
    T_TAGS,             /* object whose values are strings */
    T_TEXTS, T_INTS,    /* arrays */
    T_ROWS,             /* array of objects: of */
    T__MAX
};

enum field_flags {
    F_REQUIRED = 1,     /* at creation */
    F_FIXED    = 2,     /* set at creation, or never changes */
    F_READ     = 4,     /* the server's own: may be sent back unchanged */
    F_NULL     = 8,     /* null clears it */
    F_WRITE    = 16     /* accepted, never answered */
};

/*
 * min and max bound a number's value, a text's length in bytes, an array's
 * length and, with item_max, the bytes of its texts; both 0: the type's own.
 */
struct field {
    const char          *name;
    enum field_type      type;
    int                  flags;
    long long            min, max;
    long long            item_max;
    const char          *pattern;     /* PCRE2, for the whole text */
    const char          *allowed;     /* "a b c": one of these words */
    bool               (*check)(const char *text, struct error *err);
    const struct field  *of;          /* T_ROWS: the fields of an element */
    const char          *help;
};

enum filter_op { OP_EQ, OP_BEFORE, OP_AFTER, OP_HAS, OP__MAX };

struct filter {
    const char      *name;            /* query parameter */
    const char      *column;          /* of the view */
    enum filter_op   op;
};

struct sort { const char *name, *column; };

struct resource {
    const char           *name;          /* "team": in audit rows and errors */
    const char           *schema;        /* "Team": in the OpenAPI document */
    const char           *request;       /* its name as a body, unless schema */
    const struct field   *fields;        /* NULL name ends */
    const char           *view;          /* "api_teams" */
    const struct filter  *filters;       /* NULL name ends; or NULL */
    const struct sort    *sorts;         /* NULL name ends; or NULL */
    const char           *order;         /* column that pages, or created_at */
    const char           *key;           /* breaks ties, or id */
    const char           *parent;        /* column that {id} selects, or NULL */
    enum sql              get, create, update, delete;
};

#define RESOURCE_SQL(NAME)                                                    \
    .get = SQL_ ## NAME ## _GET, .create = SQL_ ## NAME ## _CREATE,           \
    .update = SQL_ ## NAME ## _UPDATE, .delete = SQL_ ## NAME ## _DELETE

/*
 * The generic handlers.  get: one id, gives JSON.  create: the body, gives the
 * id, and is followed by update: the id and the body, gives the id.  delete:
 * the id, gives the id.  resource_part lists what belongs to {id} and answers
 * 404 when get does not know it.
 */
rest_handler  resource_list, resource_get, resource_create, resource_update,
              resource_delete, resource_part;

/* One row each for the five routes of a plain resource. */
#define RESOURCE_ROUTES(at, noun, res, one, many)                             \
    { "GET", at, noun ".read", NULL, resource_list, res, ROUTE_LIST,          \
      "List " many, 200 },                                                    \
    { "POST", at, noun ".edit", one "_created", resource_create, res, 0,      \
      "Create one of the " many, 201 },                                       \
    { "GET", at "/{id}", noun ".read", NULL, resource_get, res, 0,            \
      "Get one of the " many, 200 },                                          \
    { "PUT", at "/{id}", noun ".edit", one "_updated", resource_update, res,  \
      0, "Change one of the " many ", fully or in part", 200 },               \
    { "DELETE", at "/{id}", noun ".delete", one "_deleted", resource_delete,  \
      res, 0, "Delete one of the " many, 204 }

/* Steps of these, for handlers that do more. */

/* Checks r->body against the table; current: the object it changes, or NULL. */
bool resource_check(struct request *r, const struct field *fields,
    const json_t *current);

/* Answers with the JSON text that sql gives for id; NOT_FOUND without. */
bool resource_reply(struct request *r, const struct resource *res,
    const char *id, int status);

/* The body goes into the tables: ret_id is to be freed. */
bool resource_insert(struct request *r, const struct resource *res,
    char **ret_id);

/* Refuses query parameters that the table does not have; names ends with NULL. */
bool resource_query_known(struct request *r, const char *const *names);

/* RFC 3339 5.6 date-time. */
bool resource_is_time(const char *text);

/* "true" or "false" of a query parameter; a wrong word is MALFORMED. */
bool resource_query_bool(struct request *r, const char *name, bool *ret);
