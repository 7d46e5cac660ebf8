/*
 * A REST resource as a table: its fields, filters and statements.  The same
 * tables check request bodies and print the OpenAPI document.
 */
#pragma once
#include "core.h"
#include "field.h"
#include "rest.h"

enum filter_op { OP_EQ, OP_BEFORE, OP_AFTER, OP_HAS, OP__MAX };

struct filter {
    const char      *name;            /* query parameter */
    const char      *column;          /* of the view */
    enum filter_op   op;
};

struct sort { const char *name, *column; };

/*
 * What one resource does more than others.  r->body is checked and complete; id is
 * of the object and current what it was, both NULL before it is created.
 */
typedef bool resource_hook(struct request *r, const char *id,
    const json_t *current);

struct resource {
    const char           *name;          /* "team": in audit rows and errors */
    const char           *schema;        /* "Team": in the OpenAPI document */
    const char           *request;       /* its name as a body, unless schema */
    enum audit_category   category;      /* of its audit rows */
    const char           *table;         /* "teams": whose rows it is, or NULL */
    const struct field   *fields;        /* NULL name ends */
    const char           *view;          /* "api_teams" */
    const struct filter  *filters;       /* NULL name ends; or NULL */
    const struct sort    *sorts;         /* NULL name ends; or NULL */
    const char           *order;         /* column that pages, or created_at */
    const char           *key;           /* breaks ties, or id */
    const char           *parent;        /* column that {id} selects, or NULL */
    const char           *whole;         /* with parent: the view that {id} is of */

    resource_hook        *check;         /* rules beyond those of each field; or NULL */
    resource_hook        *changed;       /* what follows, in the same transaction, before
                                            it is answered; current is NULL when the
                                            object is new; or NULL */

    /* Statements of its own.  NULL: the ones that work for any table. */
    const struct sql_statement  *create, *update, *delete;
};

#define RESOURCE_SQL(NAME)                                                    \
    .create = SQL_ ## NAME ## _CREATE, .update = SQL_ ## NAME ## _UPDATE,     \
    .delete = SQL_ ## NAME ## _DELETE

/*
 * The generic handlers.  A resource without statements of its own is a row of
 * table, and its view is answered.  Its own are: create: the body, gives the id,
 * and is followed by update: the id and the body, gives the id.  delete: the id,
 * gives the id.  resource_update answers PUT, which replaces the object, and
 * PATCH, which merges (RFC 7396).  resource_part lists what belongs to {id} and
 * answers 404 when whole does not know it.
 */
rest_handler  resource_list, resource_get, resource_create, resource_update,
              resource_delete, resource_part;

/*
 * One row each for the six routes of a plain resource: where, whose permission,
 * what, its name in audit actions, and in words: "a team", "teams".
 */
#define RESOURCE_ROUTES(at, noun, res, name, one, many)                       \
    RESOURCE_ROUTES_KEPT(at, noun, res, name, one, many),                     \
    { "DELETE", at "/{id}", noun ".delete", name "_deleted", resource_delete, \
      res, 0, "Delete " one, .status = 204 }

/* The same without DELETE, for one that does more. */
#define RESOURCE_ROUTES_KEPT(at, noun, res, name, one, many)                  \
    { "GET", at, noun ".read", NULL, resource_list, res, ROUTE_LIST,          \
      "List " many, .status = 200 },                                          \
    { "POST", at, noun ".edit", name "_created", resource_create, res, 0,     \
      "Create " one, .status = 201 },                                         \
    { "GET", at "/{id}", noun ".read", NULL, resource_get, res, 0,            \
      "Get " one, .status = 200 },                                            \
    { "PUT", at "/{id}", noun ".edit", name "_updated", resource_update, res, \
      0, "Replace " one, .status = 200 },                                     \
    { "PATCH", at "/{id}", noun ".edit", name "_updated", resource_update,    \
      res, 0, "Change fields of " one, .status = 200 }

/* Steps of these, for handlers that do more. */

/*
 * Checks r->body against the table and completes it (field_complete()).
 * current: the object that it changes, or NULL.  Faults go to r->errors.
 */
bool resource_check(struct request *r, const struct field *fields,
    const json_t *current);

/* The same where a body may be missing. */
bool resource_check_optional(struct request *r, const struct field *fields);

/*
 * The object of r->args[0] as it is, locked until the transaction ends, to judge
 * a change by (json_decref).  NOT_FOUND; STALE where If-Match (RFC 9110 13.1.1)
 * names other states of it.
 */
json_t *resource_current(struct request *r, const struct resource *res);

/*
 * What an audit row shows of a body: nothing that is never answered, and of an
 * object that is changed only what differs.
 */
json_t *resource_details(const json_t *body, const json_t *current,
    const struct field *fields);

/* The object as JSON text (free()); NOT_FOUND without. */
char *resource_text(struct request *r, const struct resource *res, const char *id);

/* Answers with the JSON text that sql gives for id; NOT_FOUND without. */
bool resource_reply(struct request *r, const struct resource *res,
    const char *id, int status);

/* The body goes into the tables: ret_id is to be freed. */
bool resource_insert(struct request *r, const struct resource *res,
    char **ret_id);

/* Deletes the object of r->args[0], which nothing may refer to: the answer names
 * what does, in dependants. */
bool resource_remove(struct request *r, const struct resource *res);

/* Whether name is a parameter of every list: page, sort, fields... */
bool resource_pages_by(const char *name);

/* "true" or "false" of a query parameter; a wrong word is MALFORMED. */
bool resource_query_bool(struct request *r, const char *name, bool *ret);
