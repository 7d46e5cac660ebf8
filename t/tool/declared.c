/*
 * Prints what the tables of controller/api/ and controller/routes.c declare, for
 * t/12-api-declarations.t and for documents: resources as JSON, or as Markdown the
 * tables of routes, errors, configuration keys, and of each connector.
 */
#include "api_resources.h"
#include "conf.h"
#include "error.h"
#include "issuer.h"
#include "routes.h"
#include "target.h"

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
    puts("| route | permission | audit action | |\n|---|---|---|---|");

    for (const struct route *route = routes; route->path; route++) {
        printf("| `%s %s` | ", route->method, route->path);

        if (*route->permission) {
            printf("`%s`", route->permission);
        } else {
            fputs(route->flags & ROUTE_PUBLIC ? "none" : "any key", stdout);
        }

        printf(route->audit ? " | `%s`" : " |%s", route->audit ? route->audit : "");
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

/* What a person has to know of a field besides what it means. */
static void
print_flags(const struct field *f)
{
    static const struct { int flag; const char *text; } words[] = {
        { F_REQUIRED, "Required." }, { F_READ, "Set by the server." },
        { F_FIXED, "Never changes." }, { F_SECRET, "Secret: never shown." }
    };
    const char  *dot = ".";

    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (f->flags & words[i].flag) {
            printf("%s %s", dot, words[i].text);
            dot = "";
        }
    }
}

/* A text without the quotation marks of JSON. */
static void
print_row(const struct field *f, const char *init, const char *rule)
{
    int  quoted = *init == '"';
    int  len = (int) strlen(init) - 2 * quoted;

    printf("| `%s` | ", f->name);
    printf("%s%.*s%s", len > 0 ? "`" : "", len, init + quoted, len > 0 ? "` " : "");
    printf("| %s", f->help);
    print_flags(f);
    printf(" | %s%s|\n", rule, *rule ? " " : "");
}

static void
print_configuration(void)
{
    char  init[200], rule[300];

    puts("| key | default | meaning | allowed |\n|---|---|---|---|");

    for (const struct field *f = conf_fields; f->name; f++) {
        conf_default(f, init, sizeof(init));
        field_rule(f, rule, sizeof(rule));
        print_row(f, init, f->type == T_BOOL ? "on or off" : rule);
    }
}

static const struct field_kind *
connector_find(const char *name)
{
    const struct field_kind  *kind = field_kind_find(issuer_kinds, name);

    return kind ? kind : field_kind_find(target_kinds, name);
}

static void
print_connectors(void)
{
    for (size_t i = 0; issuer_kinds[i]; i++) {
        puts(issuer_kinds[i]->name);
    }

    for (size_t i = 0; target_kinds[i]; i++) {
        puts(target_kinds[i]->name);
    }
}

static void
print_connector(const struct field_kind *kind)
{
    char  rule[300];

    puts("| field | default | meaning | allowed |\n|---|---|---|---|");

    for (const struct field *f = kind->fields; f->name; f++) {
        field_rule(f, rule, sizeof(rule));
        print_row(f, f->init ? f->init : "", rule);
    }
}

static void
print_resources(void)
{
#define X(resource)  print_resource(#resource, &resource);
    API_RESOURCES(X)
#undef X
}

int
main(int argc, char **argv)
{
    static const struct { const char *name; void (*print)(void); } tables[] = {
        { "", print_resources }, { "routes", print_routes }, { "errors", print_errors },
        { "configuration", print_configuration }, { "connectors", print_connectors },
    };
    const char               *wanted = argc > 1 ? argv[1] : "";
    const struct field_kind  *kind;

    for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]); i++) {
        if (strcmp(tables[i].name, wanted) == 0) {
            tables[i].print();
            return 0;
        }
    }

    kind = connector_find(wanted);

    if (kind == NULL) {
        fprintf(stderr, "declared: no table \"%s\"\n", wanted);
        return 1;
    }

    print_connector(kind);

    return 0;
}
