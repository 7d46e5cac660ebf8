/* Lists: paging by number or cursor, sorting and filters, by table only. */
#include "resource.h"
#include "sql_resource.h"

#include <stdlib.h>
#include <string.h>

#define PAGE_SIZE      50
#define PAGE_SIZE_MAX  500
#define PAGE_MAX       100000000

static const char *const  ops[OP__MAX] = {
    [OP_EQ] = "=", [OP_BEFORE] = "<", [OP_AFTER] = ">=", [OP_HAS] = "has"
};

/* The parameters of every list. */
static const char *const  paging[] = {
    "page", "per_page", "cursor", "page_size", "sort", "sort_desc", "fields", NULL
};

bool
resource_pages_by(const char *name)
{
    for (const char *const *p = paging; *p; p++) {
        if (strcmp(*p, name) == 0) {
            return true;
        }
    }

    return false;
}

bool
resource_query_bool(struct request *r, const char *name, bool *ret)
{
    const char  *value = rest_query(r, name);

    if (value && strcmp(value, "true") != 0 && strcmp(value, "false") != 0) {
        return error_set(&r->err, ERR_MALFORMED, "%s must be true or false", name);
    }

    *ret = value && *value == 't';

    return true;
}

static bool
query_number(struct request *r, const char *name, long max, const char **ret)
{
    const char  *value = rest_query(r, name);
    char        *end;
    long         number;

    if (value == NULL) {
        return true;
    }

    number = strtol(value, &end, 10);
    if (*value < '0' || *value > '9' || *end || number < 1 || number > max) {
        return error_set(&r->err, ERR_MALFORMED, "%s must be between 1 and %ld",
                         name, max);
    }

    *ret = value;

    return true;
}

static bool
filter_add(json_t *filters, const char *column, enum filter_op op,
    const char *value)
{
    return json_array_append_new(filters, json_pack("{s:s s:s s:s}",
               "column", column, "op", ops[op], "value", value)) == 0;
}

static const struct filter *
filter_find(const struct resource *res, const char *name)
{
    const struct filter  *filter = res->filters;

    while (filter && filter->name && strcmp(filter->name, name) != 0) {
        filter++;
    }

    return filter && filter->name ? filter : NULL;
}

/* A value that the column can hold: nobody has an unknown status. */
static bool
filter_check(struct request *r, const struct resource *res,
    const struct filter *filter, const char *value)
{
    const struct field  *f = field_find(res->fields, filter->column);
    const char          *words = f == NULL ? NULL : f->type == T_BOOL ? "true false"
                                 : f->answers ? f->answers : f->allowed;

    if ((filter->op == OP_BEFORE || filter->op == OP_AFTER) && !field_is_time(value)) {
        return error_set(&r->err, ERR_MALFORMED, "%s must be an RFC 3339 time, "
                         "such as 2026-01-31T00:00:00Z", filter->name);
    }

    if (filter->op == OP_EQ && words && !field_word_in(words, value)) {
        return error_set(&r->err, ERR_MALFORMED, "%s must be one of: %s", filter->name,
                         words);
    }

    return true;
}

/* Asked for in any spelling; what cannot be one of the values stays, and finds none. */
static bool
filter_take(json_t *filters, const struct resource *res, const struct filter *filter,
    const char *value)
{
    const struct field  *f = field_find(res->fields, filter->column);
    CLEANUP(mem) char   *stored = f && f->canonical ? f->canonical(value) : NULL;

    return filter_add(filters, filter->column, filter->op, stored ? stored : value);
}

/* What the query asks for, as the JSON that api_list() reads. */
static bool
list_filters(struct request *r, const struct resource *res, json_t *filters)
{
    const struct filter  *filter;

    if (res->parent && !filter_add(filters, res->parent, OP_EQ, r->args[0])) {
        return error_set(&r->err, ERR_INTERNAL, "out of memory");
    }

    for (const struct query_arg *arg = r->query; arg->name; arg++) {
        filter = filter_find(res, arg->name);

        if (filter && (!filter_check(r, res, filter, arg->value)
                       || !filter_take(filters, res, filter, arg->value)))
        {
            return r->err.code ? false
                   : error_set(&r->err, ERR_INTERNAL, "out of memory");
        }
    }

    return true;
}

static bool
list_sort(struct request *r, const struct resource *res, const char **column,
    bool *descending)
{
    const char         *name = rest_query(r, "sort");
    const struct sort  *sort = res->sorts;

    if (!resource_query_bool(r, "sort_desc", descending)) {
        return false;
    }

    *column = NULL;
    if (name == NULL) {
        return true;
    }

    if (*name == '-') {
        *descending = true;
        name++;
    }

    while (sort && sort->name && strcmp(sort->name, name) != 0) {
        sort++;
    }

    if (sort == NULL || sort->name == NULL) {
        return error_set(&r->err, ERR_MALFORMED,
                         "this list cannot be sorted by \"%.60s\"", name);
    }

    *column = sort->column;

    return true;
}

static bool
list_fields(struct request *r, const struct resource *res, json_t *names)
{
    const char          *list = rest_query(r, "fields");
    const struct field  *f;
    size_t               len;

    for ( ; list && *list; list += len + (list[len] == ',')) {
        len = strcspn(list, ",");

        for (f = res->fields; f->name; f++) {
            if (strlen(f->name) == len && memcmp(f->name, list, len) == 0
                && !(f->flags & (F_WRITE | F_SECRET)))
            {
                break;
            }
        }

        if (f->name == NULL) {
            return error_set(&r->err, ERR_MALFORMED, "there is no field \"%.*s\"",
                             len > 60 ? 60 : (int) len, list);
        }

        json_array_append_new(names, json_string(f->name));
    }

    return true;
}

struct page { const char *number, *size, *cursor; };

/* page and per_page, or cursor and page_size: never both. */
static bool
list_page(struct request *r, struct page *page, const char *sorted)
{
    bool  by_cursor = rest_query(r, "cursor") || rest_query(r, "page_size");

    *page = (struct page) { "1", "50", NULL };

    if (!by_cursor) {
        return query_number(r, "page", PAGE_MAX, &page->number)
               && query_number(r, "per_page", PAGE_SIZE_MAX, &page->size);
    }

    if (rest_query(r, "page") || rest_query(r, "per_page") || sorted) {
        return error_set(&r->err, ERR_MALFORMED, "a cursor pages newest first: "
                         "page, per_page and sort do not go with it");
    }

    page->cursor = rest_query(r, "cursor") ? rest_query(r, "cursor") : "";

    return query_number(r, "page_size", PAGE_SIZE_MAX, &page->size);
}

static bool
list_run(struct request *r, const struct resource *res, const char *sorted,
    bool descending, const struct page *page, const char *filters,
    const char *fields)
{
    CLEANUP(pgresult) PGresult  *rows = NULL;

    rows = DB_EXEC(r->db, &r->err, SQL_RESOURCE_LIST, res->view, filters, sorted,
                   descending ? "true" : "false",
                   res->order ? res->order : "created_at",
                   res->key ? res->key : "id", page->number, page->size,
                   page->cursor, fields);
    if (rows == NULL) {

        /* the values of a list are those of its query */
        if (r->err.code == ERR_INVALID) {
            error_set(&r->err, ERR_MALFORMED, page->cursor && *page->cursor
                      ? "the cursor is not one that this list answered"
                      : "a value of the query is not what its field can hold");
        }
        return false;
    }

    return rest_reply_text(r, PQgetvalue(rows, 0, 0), PQgetlength(rows, 0, 0));
}

bool
resource_list(struct request *r)
{
    const struct resource   *res = r->route->data;
    CLEANUP(json) json_t    *filters = json_array(), *names = json_array();
    CLEANUP(mem) char       *filters_text = NULL, *names_text = NULL;
    const char              *sorted;
    struct page              page;
    bool                     descending;

    if (!list_filters(r, res, filters) || !list_fields(r, res, names)
        || !list_sort(r, res, &sorted, &descending)
        || !list_page(r, &page, sorted))
    {
        return false;
    }

    filters_text = json_dumps(filters, JSON_COMPACT);
    names_text = json_array_size(names) ? json_dumps(names, JSON_COMPACT) : NULL;

    return list_run(r, res, sorted, descending, &page, filters_text, names_text);
}
