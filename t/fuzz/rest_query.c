/*
 * First lines of requests: method, path and query as the server takes them
 * apart, and what a list makes of its parameters.
 */
#include "fuzz.h"
#include "../../controller/rest/resource_list.c"
#include "rest_router.h"
#include "routes.h"

static void
list(struct request *r)
{
    const struct resource  *res = r->route->data;
    json_t                 *filters = json_array(), *names = json_array();
    const char             *sorted = NULL;
    struct page             page;
    bool                    descending, ok;

    ok = list_filters(r, res, filters) && list_fields(r, res, names)
         && list_sort(r, res, &sorted, &descending)
         && list_page(r, &page, sorted);

    FUZZ_MUST(ok || (r->err.code == ERR_MALFORMED && *r->err.detail));
    json_decref(filters);
    json_decref(names);
}

static void
answer(struct request *r, char *target)
{
    static struct router  *router;
    struct text_room       room;
    const char            *allow = NULL;
    char                  *query;
    bool                   ok;

    if (router == NULL) {
        router = router_new(routes, 0, &r->err);
        FUZZ_MUST(router != NULL);
    }

    room.used = 0;
    r->path = target;
    query = strchr(target, '?');

    if (query) {
        *query++ = '\0';
    }

    if (strlen(r->path) > 2000) {
        return;
    }

    r->route = router_find(router, r->method, r->path, &room, r->args, &allow,
                           &r->err);
    ok = r->route
         && text_query(&room, query, r->query, &r->err);
    FUZZ_MUST(ok || r->err.code != ERR_NONE);
    FUZZ_MUST(room.used <= sizeof(room.text));

    for (const struct query_arg *arg = r->query; ok && arg->name; arg++) {
        (void) field_is_time(arg->value);
        FUZZ_MUST(text_is_utf8(arg->value, strlen(arg->value)));
    }

    if (ok && r->route->handler == resource_list) {
        list(r);
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static const char *const   methods[] = { "GET", "POST", "PUT", "DELETE", "HEAD" };
    struct request             r = { .status = 200 };
    char                      *text;

    if (len < 2) {
        return 0;
    }

    r.method = methods[data[0] % 5];
    text = fuzz_text(data + 1, len - 1);
    answer(&r, text);
    free(text);

    return 0;
}
