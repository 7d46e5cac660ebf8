/* Prints the route and field tables as an OpenAPI 3.1 document. */
#include "openapi.h"
#include "field_schema.h"
#include "resource.h"
#include "wire.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

static const struct { const char *name; long max; const char *help; } paging[] = {
    { "page", 100000000, "page by number, from 1" },
    { "per_page", 500, "objects on a page, 50 unless set" },
    { "cursor", 0, "page by cursor, newest first: next_cursor of the page before" },
    { "page_size", 500, "objects on a page that a cursor begins" },
    { "sort", 0, "field to sort by, \"-\" before it: descending" },
    { "sort_desc", -1, "sort descending" },
    { "fields", 0, "names of the fields to answer, with commas" },
};

/* "/a/{b*}/c" as OpenAPI writes it, and the names of its arguments. */
static void
path_print(const char *path, char *out, json_t *parameters)
{
    const char  *name = NULL;

    for ( ; *path; path++) {
        name = *path == '{' ? path + 1 : name;

        if (*path == '}') {
            json_array_append_new(parameters,
                json_pack("{s:s% s:s s:b s:{s:s}}", "name", name,
                          strcspn(name, "*}"), "in", "path", "required", 1,
                          "schema", "type", "string"));
        }

        if (*path != '*') {
            *out++ = *path;
        }
    }

    *out = '\0';
}

static json_t *
query_parameter(const char *name, json_t *schema, const char *help)
{
    return json_pack("{s:s s:s s:o s:s*}", "name", name, "in", "query", "schema",
                     schema, "description", help);
}

static void
list_parameters(const struct resource *res, json_t *parameters)
{
    json_t  *schema, *names;

    for (size_t i = 0; i < sizeof(paging) / sizeof(paging[0]); i++) {
        schema = paging[i].max > 0
                 ? json_pack("{s:s s:i s:I}", "type", "integer", "minimum", 1,
                             "maximum", (json_int_t) paging[i].max)
                 : json_pack("{s:s}", "type", paging[i].max ? "boolean" : "string");

        if (strcmp(paging[i].name, "sort") == 0 && res->sorts) {
            names = json_array();
            for (const struct sort *sort = res->sorts; sort->name; sort++) {
                json_array_append_new(names, json_string(sort->name));
                json_array_append_new(names, json_sprintf("-%s", sort->name));
            }
            json_object_set_new(schema, "enum", names);
        }

        json_array_append_new(parameters,
            query_parameter(paging[i].name, schema, paging[i].help));
    }

    for (const struct filter *f = res->filters; f && f->name; f++) {
        json_array_append_new(parameters,
            query_parameter(f->name, f->op == OP_BEFORE || f->op == OP_AFTER
                            ? json_pack("{s:s s:s}", "type", "string", "format",
                                        "date-time")
                            : json_pack("{s:s}", "type", "string"), NULL));
    }
}

/* "GET /api/v1/teams/{id}" -> "get_teams_id" */
static void
operation_id(const struct route *route, char *out, size_t size)
{
    const char  *path = route->path;
    size_t       n = 0;

    path += strncmp(path, "/api/v1", 7) == 0 ? 7 : 0;

    for (const char *p = route->method; *p && n < size - 1; p++) {
        out[n++] = tolower((unsigned char) *p);
    }

    for ( ; *path && n < size - 1; path++) {
        if (isalnum((unsigned char) *path)) {
            out[n++] = *path;
        } else if (out[n - 1] != '_') {
            out[n++] = '_';
        }
    }

    n -= out[n - 1] == '_';
    out[n] = '\0';
}

/* The first word of the path that says what it is about. */
static json_t *
operation_tag(const struct route *route)
{
    const char  *path = route->path;

    path += strncmp(path, "/api/v1/", 8) == 0 ? 8 : 1;

    return json_stringn(path, strcspn(path, "/"));
}

static json_t *
page_schema(const struct resource *res)
{
    return json_pack("{s:s s:{s:{s:s s:o} s:{s:s} s:{s:s} s:{s:s} s:{s:[s,s]} s:{s:s}}"
                     " s:[s,s]}", "type", "object", "properties",
                     "data", "type", "array", "items", schema_ref(res->schema, ""),
                     "total", "type", "integer", "page", "type", "integer",
                     "per_page", "type", "integer",
                     "next_cursor", "type", "string", "null",
                     "page_size", "type", "integer", "required", "data", "total");
}

static bool
is_method(const struct route *route, const char *methods)
{
    return field_word_in(methods, route->method);
}

/* Which errors a route may answer with, besides those of every route. */
static bool
may_fail(const struct route *route, enum err code)
{
    const struct resource  *res = route->data;
    bool                    body = is_method(route, "POST PUT PATCH")
                                   && res && schema_takes_body(res->fields);

    switch (code) {
    case ERR_MALFORMED:
    case ERR_TOO_LARGE:
    case ERR_INTERNAL:
        return true;
    case ERR_UNAVAILABLE:
        return !(route->flags & ROUTE_NODB);
    case ERR_UNAUTHORIZED:
    case ERR_THROTTLED:
        return !(route->flags & ROUTE_PUBLIC);
    case ERR_FORBIDDEN:
        return *route->permission != '\0';
    case ERR_NOT_FOUND:
        return strchr(route->path, '{') != NULL;
    case ERR_CONFLICT:
        return route->audit != NULL;
    case ERR_STALE:
        return is_method(route, "PUT PATCH DELETE");
    case ERR_MEDIA_TYPE:
    case ERR_INVALID:
        return body || (code == ERR_INVALID ? route->audit != NULL : route->accepts != NULL);
    default:
        return false;
    }
}

static json_t *
success(const struct route *route)
{
    const struct resource  *res = route->data;
    json_t                 *answer, *schema;
    const char             *media = route->media ? route->media : "application/json";

    answer = json_pack("{s:s}", "description", "done");

    if (route->status == 204) {
        return answer;
    }

    schema = route->media ? json_object()
             : res == NULL ? json_pack("{s:s}", "type", "object")
             : route->flags & ROUTE_LIST ? page_schema(res) : schema_ref(res->schema, "");

    json_object_set_new(answer, "content", json_pack("{s:{s:o}}", media, "schema", schema));

    return answer;
}

static json_t *
responses(const struct route *route)
{
    json_t  *all = json_object();
    char     code[16];

    snprintf(code, sizeof(code), "%d", route->status ? route->status : 200);
    json_object_set_new(all, code, success(route));

    if (route->also) {
        snprintf(code, sizeof(code), "%d", route->also);
        json_object_set_new(all, code, json_pack("{s:s}", "description", "done, without content"));
    }

    for (int e = ERR_NONE + 1; e < ERR__MAX; e++) {
        if (may_fail(route, (enum err) e)) {
            snprintf(code, sizeof(code), "%d", err_infos[e].http_status);
            json_object_set_new(all, code, json_pack("{s:s}", "$ref",
                                "#/components/responses/Problem"));
        }
    }

    json_object_set_new(all, "default", json_pack("{s:s}", "$ref",
                        "#/components/responses/Problem"));

    return all;
}

/* The schema of a body goes to the components under the name that is returned. */
static json_t *
request_body(const struct route *route, json_t *schemas)
{
    const struct resource  *res = route->data;
    enum schema_kind        kind = is_method(route, "PUT") ? SCHEMA_REPLACE
                                   : is_method(route, "PATCH") ? SCHEMA_MERGE
                                   : SCHEMA_CREATE;
    const char             *name, *suffix;
    char                    full[100];

    if (route->accepts) {
        return json_pack("{s:b s:{s:{s:{}}}}", "required", 1, "content",
                         route->accepts, "schema");
    }

    if (res == NULL || !schema_takes_body(res->fields)
        || !is_method(route, "POST PUT PATCH"))
    {
        return NULL;
    }

    name = res->request ? res->request : res->schema;
    suffix = res->request ? "" : schema_suffixes[kind];
    snprintf(full, sizeof(full), "%s%s", name, suffix);
    json_object_set_new(schemas, full, schema_object(res->fields, kind));
    schema_kinds(res->fields, kind, schemas);

    return json_pack("{s:b s:{s:{s:o}}}", "required", res->request ? 0 : 1,
                     "content", is_method(route, "PATCH") ? "application/merge-patch+json"
                     : "application/json", "schema", schema_ref(name, suffix));
}

static json_t *
operation(const struct route *route, json_t *parameters, json_t *schemas)
{
    const struct resource  *res = route->data;
    json_t                 *op, *body = request_body(route, schemas);
    char                    id[160];

    operation_id(route, id, sizeof(id));

    if (route->flags & ROUTE_LIST) {
        list_parameters(res, parameters);
    }

    for (const struct filter *f = route->flags & ROUTE_LIST ? NULL
                                  : res && res->view == NULL ? res->filters : NULL;
         f && f->name; f++)
    {
        json_array_append_new(parameters, query_parameter(f->name,
            json_pack("{s:s}", "type", "string"), NULL));
    }

    op = json_pack("{s:s s:s s:[o] s:o s:o}", "operationId", id, "summary",
                   route->summary, "tags", operation_tag(route), "parameters",
                   json_incref(parameters), "responses", responses(route));

    if (body) {
        json_object_set_new(op, "requestBody", body);
    }

    if (route->flags & ROUTE_PUBLIC) {
        json_object_set_new(op, "security", json_array());
    }

    json_object_set_new(op, "x-permission", json_string(route->permission));
    json_object_set_new(op, "x-lane",
                        json_string(route->flags & ROUTE_SLOW ? "slow" : "cheap"));

    if (res && !json_object_get(schemas, res->schema)) {
        json_object_set_new(schemas, res->schema,
                            schema_object(res->fields, SCHEMA_ANSWER));
        schema_kinds(res->fields, SCHEMA_ANSWER, schemas);
    }

    return op;
}

static void
path_add(json_t *paths, const struct route *route, json_t *schemas)
{
    CLEANUP(json) json_t  *parameters = json_array();
    json_t                *item;
    char                   path[200], method[10];
    size_t                 n;

    path_print(route->path, path, parameters);

    item = json_object_get(paths, path);
    if (item == NULL) {
        item = json_object();
        json_object_set_new(paths, path, item);
    }

    for (n = 0; route->method[n]; n++) {
        method[n] = tolower((unsigned char) route->method[n]);
    }
    method[n] = '\0';

    json_object_set_new(item, method, operation(route, parameters, schemas));
}

/* RFC 9457, and the members that the comparable product has. */
static json_t *
problem_schema(void)
{
    json_t  *error = json_pack("{s:s s:{s:{s:s} s:{s:s}} s:[s,s]}", "type", "object",
                               "properties", "pointer", "type", "string", "detail",
                               "type", "string", "required", "pointer", "detail");
    json_t  *dependant = json_pack("{s:s s:{s:{s:s} s:{s:s}} s:[s,s]}", "type",
                                   "object", "properties", "type", "type", "string",
                                   "id", "type", "string", "required", "type", "id");

    return json_pack("{s:s s:{s:{s:s s:s} s:{s:s} s:{s:s} s:{s:s} s:{s:s} s:{s:s} s:{s:s}"
                     " s:{s:s} s:{s:s s:o} s:{s:s s:o}} s:[s,s,s,s,s,s,s,s]}",
                     "type", "object", "properties",
                     "type", "type", "string", "format", "uri-reference",
                     "title", "type", "string", "status", "type", "integer",
                     "detail", "type", "string", "instance", "type", "string",
                     "request_id", "type", "string", "error", "type", "string",
                     "message", "type", "string",
                     "errors", "type", "array", "items", error,
                     "dependants", "type", "array", "items", dependant,
                     "required", "type", "title", "status", "detail", "instance",
                     "request_id", "error", "message");
}

static json_t *
components(json_t *schemas)
{
    json_object_set_new(schemas, "Problem", problem_schema());

    return json_pack("{s:{s:{s:s s:s}} s:{s:{s:s s:{s:{s:o}}}} s:o}",
                     "securitySchemes", "bearer", "type", "http", "scheme",
                     "bearer", "responses", "Problem", "description",
                     "what was wrong, in words (RFC 9457)", "content",
                     "application/problem+json",
                     "schema", schema_ref("Problem", ""), "schemas", schemas);
}

bool
openapi_get(struct request *r)
{
    CLEANUP(json) json_t  *document = NULL;
    json_t                *paths = json_object(), *schemas = json_object();

    for (const struct route *route = r->ctx->routes; route->path; route++) {
        path_add(paths, route, schemas);
    }

    document = json_pack("{s:s s:{s:s s:s s:s} s:[{s:s}] s:[{s:[]}] s:o s:o}",
                         "openapi", "3.1.0", "info", "title", "certctl",
                         "version", CERTCTL_VERSION, "description",
                         "Certificates of NGINX servers: inventory, renewal, "
                         "deployment", "servers", "url", "/", "security",
                         "bearer", "paths", paths, "components",
                         components(schemas));

    return rest_reply_json(r, document);
}
