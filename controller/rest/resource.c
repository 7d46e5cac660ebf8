/* The generic handlers: check the body, run the resource's statement, answer. */
#include "resource.h"
#include "random.h"
#include "sql_resource.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The row of a view as JSON text; NULL and NOT_FOUND without. */
static char *
view_text(struct request *r, const struct resource *res, const char *view,
    const char *id)
{
    const struct sql_statement  *sql = sql_views;
    char                        *text;

    while (sql->name && strcmp(sql->name, view) != 0) {
        sql++;
    }

    if (sql->name == NULL) {
        error_set(&r->err, ERR_INTERNAL, "sql/schema has no view %s", view);
        return NULL;
    }

    text = DB_VALUE(r->db, &r->err, sql, id);
    if (text == NULL && r->err.code == ERR_NOT_FOUND) {
        error_not_found(&r->err, res->name, id);
    }

    return text;
}

char *
resource_text(struct request *r, const struct resource *res, const char *id)
{
    return view_text(r, res, res->view, id);
}

bool
resource_part(struct request *r)
{
    const struct resource  *res = r->route->data;
    CLEANUP(mem) char      *whole = view_text(r, res, res->whole, r->args[0]);

    return whole && resource_list(r);
}

bool
resource_reply(struct request *r, const struct resource *res, const char *id,
    int status)
{
    CLEANUP(mem) char  *text = resource_text(r, res, id);
    char                location[400];

    if (text == NULL) {
        return false;
    }

    if (status == 201) {
        snprintf(location, sizeof(location), "%s/%s", r->route->path, id);
        rest_header(r, "Location", location);
    }

    r->status = status;
    r->represents = true;

    return rest_reply_text(r, text, strlen(text));
}

bool
resource_get(struct request *r)
{
    return resource_reply(r, r->route->data, r->args[0], 200);
}

json_t *
resource_details(const json_t *body, const json_t *current,
    const struct field *fields)
{
    json_t      *details = json_deep_copy(body), *value;
    const char  *key;
    void        *next;

    for (const struct field *f = fields; f && f->name; f++) {
        if (f->flags & (F_WRITE | F_SECRET)) {
            json_object_del(details, f->name);
        }
    }

    json_object_foreach_safe(details, next, key, value) {
        if (current && json_equal(value, json_object_get(current, key))) {
            json_object_del(details, key);
        }
    }

    return details;
}

/*
 * The columns of table that a body sets, as JSON text.  A new row has the
 * column's default where the body has null or nothing.
 */
static char *
resource_columns(const struct resource *res, const json_t *body, bool fresh)
{
    CLEANUP(json) json_t  *columns = json_object();
    const struct field    *f;
    const char            *name;
    json_t                *value;

    json_object_foreach((json_t *) body, name, value) {
        f = field_find(res->fields, name);

        if (f && !(f->flags & F_READ) && (fresh || !(f->flags & F_FIXED))
            && !(fresh && json_is_null(value)))
        {
            json_object_set(columns, name, value);
        }
    }

    return json_dumps(columns, JSON_COMPACT);
}

static char *
run_create(struct request *r, const struct resource *res)
{
    CLEANUP(mem) char  *text = NULL, *id = NULL;

    if (res->create == NULL) {
        text = resource_columns(res, r->body, true);
        return DB_VALUE(r->db, &r->err, SQL_RESOURCE_CREATE, res->table, text);
    }

    text = json_dumps(r->body, JSON_COMPACT);
    id = DB_VALUE(r->db, &r->err, res->create, text);

    return id && DB_RUN(r->db, &r->err, res->update, id, text) ? TAKE(id) : NULL;
}

static bool
run_update(struct request *r, const struct resource *res)
{
    CLEANUP(mem) char  *text = NULL;

    if (res->update == NULL) {
        text = resource_columns(res, r->body, false);
        return DB_RUN(r->db, &r->err, SQL_RESOURCE_UPDATE, res->table, r->args[0], text);
    }

    text = json_dumps(r->body, JSON_COMPACT);

    return DB_RUN(r->db, &r->err, res->update, r->args[0], text);
}

bool
resource_insert(struct request *r, const struct resource *res, char **ret_id)
{
    CLEANUP(mem) char  *id = NULL;

    if (!resource_check(r, res->fields, NULL)
        || (res->check && !res->check(r, NULL, NULL))
        || (id = run_create(r, res)) == NULL)
    {
        return false;
    }

    r->details = resource_details(r->body, NULL, res->fields);
    r->subject = strdup(id);

    if (res->changed && !res->changed(r, id, NULL)) {
        return false;
    }

    *ret_id = TAKE(id);

    return true;
}

bool
resource_create(struct request *r)
{
    const struct resource  *res = r->route->data;
    CLEANUP(mem) char      *id = NULL;

    return resource_insert(r, res, &id) && resource_reply(r, res, id, 201);
}

/* RFC 9110 13.1.1: the tag of a GET now, compared strongly. */
static bool
precondition_holds(struct request *r, const char *text)
{
    const char  *wanted = rest_request_header(r, "If-Match");
    char         tag[REST_TAG_MAX];

    rest_tag(text, strlen(text), tag);

    return wanted == NULL || rest_tag_listed(wanted, tag, true)
           || error_set(&r->err, ERR_STALE, "the object has changed since the "
                        "state that If-Match names: get it again");
}

json_t *
resource_current(struct request *r, const struct resource *res)
{
    CLEANUP(mem) char  *text = NULL;
    json_t             *current;

    text = DB_VALUE(r->db, &r->err, SQL_RESOURCE_LOCK, res->view, r->args[0]);
    if (text == NULL) {
        if (r->err.code == ERR_NOT_FOUND) {
            error_not_found(&r->err, res->name, r->args[0]);
        }
        return NULL;
    }

    if (!precondition_holds(r, text)) {
        return NULL;
    }

    current = json_loads(text, 0, NULL);
    if (current == NULL) {
        error_set(&r->err, ERR_INTERNAL, "out of memory");
    }

    return current;
}

bool
resource_update(struct request *r)
{
    const struct resource  *res = r->route->data;
    CLEANUP(json) json_t   *current = resource_current(r, res);

    if (current == NULL || !resource_check(r, res->fields, current)
        || (res->check && !res->check(r, r->args[0], current)))
    {
        return false;
    }

    r->details = resource_details(r->body, current, res->fields);

    return run_update(r, res)
           && (res->changed == NULL || res->changed(r, r->args[0], current))
           && resource_reply(r, res, r->args[0], 200);
}

/* What still refers to it, as objects, so that a caller can go there. */
static bool
nothing_depends(struct request *r, const struct resource *res)
{
    CLEANUP(mem) char  *text = NULL;
    json_t             *dependants;
    const json_t       *first;
    size_t              n;
    char                what[60], whose[60];

    if (res->table == NULL) {
        return true;
    }

    text = DB_VALUE(r->db, &r->err, SQL_RESOURCE_DEPENDANTS, res->table, r->args[0]);
    dependants = text ? json_loads(text, 0, NULL) : NULL;

    if (dependants == NULL) {
        return false;
    }

    n = json_array_size(dependants);
    first = json_array_get(dependants, 0);
    r->problem = json_pack("{s:o}", "dependants", dependants);

    if (n == 0) {
        return true;
    }

    error_words(res->name, what, sizeof(what));
    error_words(json_string_value(json_object_get(first, "type")), whose, sizeof(whose));

    return error_set(&r->err, ERR_CONFLICT, "this %s is still in use by %s %s%s", what, whose,
                     json_string_value(json_object_get(first, "id")),
                     n > 1 ? " and others: see dependants" : "");
}

bool
resource_remove(struct request *r, const struct resource *res)
{
    CLEANUP(json) json_t   *current = resource_current(r, res);
    CLEANUP(mem) char      *id = NULL;

    if (current == NULL || !nothing_depends(r, res)) {
        return false;
    }

    id = res->delete ? DB_VALUE(r->db, &r->err, res->delete, r->args[0])
         : DB_VALUE(r->db, &r->err, SQL_RESOURCE_DELETE, res->table, r->args[0]);

    if (id == NULL && r->err.code == ERR_NOT_FOUND) {
        return error_not_found(&r->err, res->name, r->args[0]);
    }

    /* A reference that a deletion would break: still in use. */
    if (id == NULL) {
        r->err.code = r->err.code == ERR_INVALID ? ERR_CONFLICT : r->err.code;
        return false;
    }

    r->status = 204;

    return true;
}

bool
resource_delete(struct request *r)
{
    return resource_remove(r, r->route->data);
}
