/* The generic handlers: check the body, run the resource's statement, answer. */
#include "resource.h"

#include <stdlib.h>
#include <string.h>

bool
resource_reply(struct request *r, const struct resource *res, const char *id,
    int status)
{
    CLEANUP(pgresult) PGresult  *rows = DB_EXEC(r->db, &r->err, res->get, id);

    if (rows == NULL) {
        return false;
    }

    if (PQntuples(rows) == 0) {
        return error_set(&r->err, ERR_NOT_FOUND, "no %s has this id", res->name);
    }

    r->status = status;

    return rest_reply_text(r, PQgetvalue(rows, 0, 0), PQgetlength(rows, 0, 0));
}

bool
resource_get(struct request *r)
{
    return resource_reply(r, r->route->data, r->args[0], 200);
}

/* What the audit row shows of a body: nothing that is never answered. */
static json_t *
body_details(const json_t *body, const struct field *fields)
{
    json_t  *details = json_deep_copy(body);

    for (const struct field *f = fields; f->name; f++) {
        if (f->flags & F_WRITE) {
            json_object_del(details, f->name);
        }
    }

    return details;
}

bool
resource_insert(struct request *r, const struct resource *res, char **ret_id)
{
    CLEANUP(mem) char  *text = NULL, *id = NULL;

    if (!resource_check(r, res->fields, NULL)) {
        return false;
    }

    text = json_dumps(r->body, JSON_COMPACT);
    id = DB_VALUE(r->db, &r->err, res->create, text);

    if (id == NULL || !DB_RUN(r->db, &r->err, res->update, id, text)) {
        return false;
    }

    r->details = body_details(r->body, res->fields);
    r->subject = strdup(id);
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

/* The object as it is, to judge a change by. */
static json_t *
resource_current(struct request *r, const struct resource *res)
{
    CLEANUP(mem) char  *text = DB_VALUE(r->db, &r->err, res->get, r->args[0]);
    json_t             *current;

    if (text == NULL) {
        if (r->err.code == ERR_NOT_FOUND) {
            error_set(&r->err, ERR_NOT_FOUND, "no %s has this id", res->name);
        }
        return NULL;
    }

    current = json_loads(text, 0, NULL);
    if (current == NULL) {
        error_set(&r->err, ERR_INTERNAL, "out of memory");
    }

    return current;
}

/* Only what differs is worth an audit row. */
static json_t *
changed_details(const json_t *body, const json_t *current,
    const struct field *fields)
{
    json_t      *details = body_details(body, fields);
    const char  *key;
    json_t      *value;
    void        *next;

    json_object_foreach_safe(details, next, key, value) {
        if (json_equal(value, json_object_get(current, key))) {
            json_object_del(details, key);
        }
    }

    return details;
}

bool
resource_update(struct request *r)
{
    const struct resource  *res = r->route->data;
    CLEANUP(json) json_t   *current = resource_current(r, res);
    CLEANUP(mem) char      *text = NULL;

    if (current == NULL || !resource_check(r, res->fields, current)) {
        return false;
    }

    text = json_dumps(r->body, JSON_COMPACT);
    r->details = changed_details(r->body, current, res->fields);

    return DB_RUN(r->db, &r->err, res->update, r->args[0], text)
           && resource_reply(r, res, r->args[0], 200);
}

bool
resource_delete(struct request *r)
{
    const struct resource  *res = r->route->data;
    int                     n = 0;

    if (!db_run(r->db, res->delete, 1, r->args, &n, &r->err)) {

        /* A reference that a deletion would break: still in use. */
        if (r->err.code == ERR_INVALID) {
            r->err.code = ERR_CONFLICT;
        }
        return false;
    }

    if (n == 0) {
        return error_set(&r->err, ERR_NOT_FOUND, "no %s has this id", res->name);
    }

    r->status = 204;

    return true;
}
