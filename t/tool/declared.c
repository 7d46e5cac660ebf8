/*
 * Prints what the tables of controller/api/ and controller/routes.c declare, for
 * t/12-api-declarations.t and for docs/api.md: resources as JSON, or the tables of
 * routes and of errors as Markdown.
 */
#include "api_resources.h"
#include "error.h"
#include "routes.h"

#include <stdio.h>
#include <string.h>

static json_t *
field_names(const struct field *fields)
{
    json_t  *names = json_object();

    for (const struct field *f = fields; f && f->name; f++) {
        json_object_set_new(names, f->name, json_pack("{s:b s:b s:b s:b s:s?}",
            "read", (f->flags & F_READ) != 0, "unseen", (f->flags & (F_WRITE | F_SECRET | F_RARE)) != 0,
            "alias", f->alias != NULL, "null", (f->flags & F_NULL) != 0, "init", f->init));
    }

    return names;
}

/* The columns that filters and sort names stand for. */
static json_t *
columns(const struct resource *res)
{
    json_t  *names = json_array();

    for (const struct filter *f = res->filters; f && f->name; f++) {
        if (f->column) {
            json_array_append_new(names, json_string(f->column));
        }
    }

    for (const struct sort *s = res->sorts; s && s->name; s++) {
        json_array_append_new(names, json_string(s->column));
    }

    if (res->view) {
        json_array_append_new(names, json_string(res->order ? res->order : "created_at"));
        json_array_append_new(names, json_string(res->key ? res->key : "id"));
    }

    if (res->parent) {
        json_array_append_new(names, json_string(res->parent));
    }

    return names;
}

static void
print_resource(const char *symbol, const struct resource *res)
{
    CLEANUP(json) json_t  *row = json_pack("{s:s s:s s:s s:s? s:s? s:b s:o s:o}", "symbol",
                                           symbol, "name", res->name, "schema", res->schema,
                                           "table", res->table, "view", res->view, "plain",
                                           res->create == NULL && res->table != NULL, "fields",
                                           field_names(res->fields), "columns", columns(res));

    json_dumpf(row, stdout, JSON_COMPACT);
    puts("");
}

static void
print_routes(void)
{
    puts("| route | permission | |\n|---|---|---|");

    for (const struct route *route = routes; route->path; route++) {
        printf("| `%s %s` | ", route->method, route->path);

        if (*route->permission) {
            printf("`%s`", route->permission);
        } else {
            fputs(route->flags & ROUTE_PUBLIC ? "none" : "any key", stdout);
        }

        printf(" | %s |\n", route->summary);
    }
}

static void
print_errors(void)
{
    puts("| type | status | when |\n|---|---|---|");

    for (int i = ERR_NONE + 1; i < ERR__MAX; i++) {
        printf("| `%s` | %d | %s |\n", err_infos[i].type, err_infos[i].http_status,
               err_infos[i].when);
    }
}

int
main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "routes") == 0) {
        print_routes();
        return 0;
    }

    if (argc == 2 && strcmp(argv[1], "errors") == 0) {
        print_errors();
        return 0;
    }

#define X(resource)  print_resource(#resource, &resource);
    API_RESOURCES(X)
#undef X

    return 0;
}
