/* The tree of routes: literals before arguments, decoding, methods, refusals. */
#include "rest_router.h"
#include "tap.h"

#include <string.h>

static const struct route  routes[] = {
    { .method = "GET", .path = "/health", .flags = ROUTE_PKI },
    { .method = "GET", .path = "/v1/agents" },
    { .method = "POST", .path = "/v1/agents" },
    { .method = "GET", .path = "/v1/agents/retired" },
    { .method = "GET", .path = "/v1/agents/{id}" },
    { .method = "DELETE", .path = "/v1/agents/{id}" },
    { .method = "GET", .path = "/v1/agents/{id}/certificates/{cert}" },
    { .method = "GET", .path = "/pki/{issuer}/{rest*}" },
    { .method = NULL }
};

static const struct { const char *method, *path; int route; const char *arg0, *arg1; } found[] = {
    { "GET", "/health", 0, NULL, NULL },
    { "HEAD", "/health", 0, NULL, NULL },
    { "POST", "/v1/agents", 2, NULL, NULL },
    { "GET", "/v1/agents/retired", 3, NULL, NULL },
    { "GET", "/v1/agents/retire", 4, "retire", NULL },
    { "GET", "/v1/agents/retired2", 4, "retired2", NULL },
    { "DELETE", "/v1/agents/a%2fb", 5, "a/b", NULL },
    { "GET", "/v1/agents/%E2%98%83", 4, "\xe2\x98\x83", NULL },
    { "GET", "/v1/agents/a/certificates/c", 6, "a", "c" },
    { "GET", "/v1/agents/retired/certificates/c", 6, "retired", "c" },
    { "GET", "/pki/iss/a/b//c%2B", 7, "iss", "a/b//c+" },
};

static const struct { const char *method, *path; enum err code; const char *allow; } refused[] = {
    { "GET", "/", ERR_NOT_FOUND, NULL },
    { "GET", "", ERR_NOT_FOUND, NULL },
    { "GET", "health", ERR_NOT_FOUND, NULL },
    { "GET", "/healt", ERR_NOT_FOUND, NULL },
    { "GET", "/health/", ERR_NOT_FOUND, NULL },
    { "GET", "/v1/agents/", ERR_NOT_FOUND, NULL },
    { "GET", "/v1", ERR_NOT_FOUND, NULL },
    { "GET", "/pki/iss", ERR_NOT_FOUND, NULL },
    { "GET", "/pki/iss/", ERR_NOT_FOUND, NULL },
    { "PUT", "/v1/agents/a", ERR_METHOD, "GET, HEAD, DELETE" },
    { "BREW", "/v1/agents", ERR_METHOD, "GET, HEAD, POST" },
    { "GET", "/v1/agents/%", ERR_MALFORMED, NULL },
    { "GET", "/v1/agents/%4", ERR_MALFORMED, NULL },
    { "GET", "/v1/agents/%00", ERR_MALFORMED, NULL },
    { "GET", "/v1/agents/%ff", ERR_MALFORMED, NULL },
    { "GET", "/v1/agents/%c0%80", ERR_MALFORMED, NULL },
    { "GET", "/v1/agents/%ed%a0%80", ERR_MALFORMED, NULL },
    { "GET", "/v1/agents/%f4%90%80%80", ERR_MALFORMED, NULL },
};

static bool
same(const char *got, const char *want)
{
    return want ? got && strcmp(got, want) == 0 : got == NULL;
}

static void
finds(const struct router *router)
{
    const struct route  *route;
    const char          *allow = NULL;

    for (size_t i = 0; i < sizeof(found) / sizeof(found[0]); i++) {
        struct text_room  room = { 0 };
        struct error      err = { 0 };
        const char       *args[REST_ARGS_MAX] = { NULL };

        route = router_find(router, found[i].method, found[i].path, &room, args,
                            &allow, &err);
        ok(route == &routes[found[i].route] && err.code == ERR_NONE
           && same(args[0], found[i].arg0) && same(args[1], found[i].arg1),
           "%s %s", found[i].method, found[i].path);
    }
}

static void
refuses(const struct router *router)
{
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        struct text_room  room = { 0 };
        struct error      err = { 0 };
        const char       *args[REST_ARGS_MAX] = { NULL }, *allow = NULL;

        ok(router_find(router, refused[i].method, refused[i].path, &room, args,
                       &allow, &err) == NULL && err.code == refused[i].code
           && same(allow, refused[i].allow),
           "refuses %s \"%s\"", refused[i].method, refused[i].path);
    }
}

static void
collides(void)
{
    static const struct route  twice[] = {
        { .method = "GET", .path = "/a/{x}" }, { .method = "GET", .path = "/a/{y}" },
        { .method = NULL }
    };
    static const struct route  five[] = {
        { .method = "GET", .path = "/{a}/{b}/{c}/{d}/{e}" }, { .method = NULL }
    };
    struct error               err = { 0 };

    ok(router_new(twice, 0, &err) == NULL && err.code == ERR_INTERNAL,
       "two rows of one path and method are refused");
    ok(router_new(five, 0, &err) == NULL, "five arguments are refused");
}

static void
queries(void)
{
    struct text_room  room = { 0 };
    struct error      err = { 0 };
    struct query_arg  args[REST_QUERY_MAX];

    ok(text_query(&room, "a=1&b=x+y%26&&c&d==", args, &err)
       && strcmp(args[0].value, "1") == 0 && strcmp(args[1].value, "x y&") == 0
       && strcmp(args[2].name, "c") == 0 && *args[2].value == '\0'
       && strcmp(args[3].value, "=") == 0 && args[4].name == NULL,
       "a query string");
    ok(text_query(&room, NULL, args, &err) && args[0].name == NULL, "no query");
    ok(!text_query(&room, "a=1&a=2", args, &err) && err.code == ERR_MALFORMED,
       "a name given twice");
    ok(!text_query(&room, "a=%0", args, &err), "half an escape");
}

int
main(void)
{
    struct error    err = { 0 };
    struct router  *all = router_new(routes, 0, &err);
    struct router  *pki = router_new(routes, ROUTE_PKI, &err);
    const char     *args[REST_ARGS_MAX] = { NULL }, *allow = NULL;
    struct text_room  room = { 0 };

    ok(all != NULL && pki != NULL, "two trees");
    finds(all);
    refuses(all);
    ok(router_find(pki, "GET", "/health", &room, args, &allow, &err) != NULL
       && router_find(pki, "GET", "/v1/agents", &room, args, &allow, &err) == NULL,
       "a tree of flagged rows has no others");
    collides();
    queries();

    router_free(all);
    router_free(pki);

    return done_testing();
}
