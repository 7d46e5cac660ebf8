/*
 * The map as a tree of path segments: written once at start, then only read, so
 * that threads share it.  A literal segment wins over an {argument}.
 */
#include "rest_router.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const  methods[] = { "GET", "POST", "PUT", "DELETE", "PATCH" };

#define METHODS  (sizeof(methods) / sizeof(methods[0]))

struct node {
    const char           *segment;
    size_t                len;
    struct node         **children;          /* sorted by segment */
    size_t                n;
    struct node          *any;               /* {name} */
    struct node          *rest;              /* {name*} */
    const struct route   *routes[METHODS];
    char                  allow[48];
};

struct router {
    struct node  root;
};

static void
node_free(struct node *node)
{
    if (node == NULL) {
        return;
    }

    for (size_t i = 0; i < node->n; i++) {
        node_free(node->children[i]);
        free(node->children[i]);
    }

    node_free(node->any);
    node_free(node->rest);
    free(node->any);
    free(node->rest);
    free(node->children);
}

void
router_free(struct router *router)
{
    if (router) {
        node_free(&router->root);
        free(router);
    }
}

static int
segment_compare(const char *a, size_t a_len, const char *b, size_t b_len)
{
    int  diff = memcmp(a, b, a_len < b_len ? a_len : b_len);

    return diff ? diff : (a_len > b_len) - (a_len < b_len);
}

/* Where segment is among the children, or where it belongs. */
static size_t
node_place(const struct node *node, const char *segment, size_t len, bool *found)
{
    size_t  low = 0, high = node->n, middle;
    int     diff;

    *found = false;

    while (low < high && !*found) {
        middle = low + (high - low) / 2;
        diff = segment_compare(segment, len, node->children[middle]->segment,
                               node->children[middle]->len);
        *found = diff == 0;

        if (diff > 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }

    return *found ? high : low;
}

static struct node *
node_child(struct node *node, const char *segment, size_t len)
{
    struct node  **children, **slot, *child;
    bool           found;
    size_t         at;

    if (segment[0] == '{') {
        slot = segment[len - 2] == '*' ? &node->rest : &node->any;
        return *slot ? *slot : (*slot = calloc(1, sizeof(**slot)));
    }

    at = node_place(node, segment, len, &found);
    if (found) {
        return node->children[at];
    }

    children = reallocarray(node->children, node->n + 1, sizeof(*children));
    if (children == NULL) {
        return NULL;
    }

    node->children = children;
    child = calloc(1, sizeof(*child));
    if (child == NULL) {
        return NULL;
    }

    *child = (struct node) { .segment = segment, .len = len };
    memmove(&children[at + 1], &children[at], (node->n - at) * sizeof(*children));
    children[at] = child;
    node->n++;

    return child;
}

static int
method_number(const char *method)
{
    if (strcmp(method, "HEAD") == 0) {
        method = "GET";
    }

    for (size_t i = 0; i < METHODS; i++) {
        if (strcmp(methods[i], method) == 0) {
            return i;
        }
    }

    return -1;
}

static void
node_allow(struct node *node)
{
    size_t  used = 0;

    for (size_t i = 0; i < METHODS; i++) {
        if (node->routes[i]) {
            used += snprintf(node->allow + used, sizeof(node->allow) - used,
                             "%s%s", used ? ", " : "",
                             i == 0 ? "GET, HEAD" : methods[i]);
        }
    }
}

static bool
router_add(struct router *router, const struct route *route, struct error *err)
{
    struct node  *node = &router->root;
    const char   *p = route->path;
    size_t        len;
    int           args = 0, m = method_number(route->method);

    while (*p == '/' && node) {
        len = strcspn(++p, "/");
        args += *p == '{';
        node = node_child(node, p, len);
        p += len;
    }

    if (node == NULL) {
        return error_set(err, ERR_INTERNAL, "out of memory");
    }

    if (args > REST_ARGS_MAX || m < 0 || node->routes[m]) {
        return error_set(err, ERR_INTERNAL,
                         "routes.c: %s %s collides or cannot be routed",
                         route->method, route->path);
    }

    node->routes[m] = route;
    node_allow(node);

    return true;
}

struct router *
router_new(const struct route *routes, int flags, struct error *err)
{
    struct router  *router = calloc(1, sizeof(*router));

    if (router == NULL) {
        error_set(err, ERR_INTERNAL, "out of memory");
        return NULL;
    }

    for (const struct route *route = routes; route->path; route++) {
        if ((route->flags & flags) == flags && !router_add(router, route, err)) {
            router_free(router);
            return NULL;
        }
    }

    return router;
}

struct walk {
    struct text_room  *room;
    const char       **args;
    struct error      *err;
};

static const struct node *node_find(const struct node *node, const char *path,
    int n, const struct walk *walk);

/* Decodes what an argument stands for; nothing is left behind when the way
 * beyond it leads nowhere. */
static const struct node *
node_argument(const struct node *node, const char *path, size_t len, int n,
    const struct walk *walk)
{
    const struct node  *found;
    size_t              used = walk->room->used;

    walk->args[n] = text_decode(walk->room, path, len, false, walk->err);
    if (walk->args[n] == NULL) {
        return NULL;
    }

    found = node_find(node, path + len, n + 1, walk);
    if (found == NULL) {
        walk->room->used = used;
        walk->args[n] = NULL;
    }

    return found;
}

static const struct node *
node_find(const struct node *node, const char *path, int n,
    const struct walk *walk)
{
    const struct node  *found = NULL;
    size_t              len, at;
    bool                literal;

    if (*path == '\0') {
        return node->allow[0] ? node : NULL;
    }

    len = strcspn(++path, "/");
    at = node_place(node, path, len, &literal);

    if (literal) {
        found = node_find(node->children[at], path + len, n, walk);
    }

    if (found == NULL && node->any && len > 0) {
        found = node_argument(node->any, path, len, n, walk);
    }

    if (found == NULL && node->rest && *path) {
        found = node_argument(node->rest, path, strlen(path), n, walk);
    }

    return found;
}

const struct route *
router_find(const struct router *router, const char *method, const char *path,
    struct text_room *room, const char *args[REST_ARGS_MAX],
    const char **allow, struct error *err)
{
    struct walk         walk = { room, args, err };
    const struct node  *node = *path == '/'
                               ? node_find(&router->root, path, 0, &walk) : NULL;
    int                 m = method_number(method);

    if (node == NULL) {
        if (err->code == ERR_NONE) {
            error_set(err, ERR_NOT_FOUND, "nothing is at this path");
        }
        return NULL;
    }

    err->code = ERR_NONE;

    if (m < 0 || node->routes[m] == NULL) {
        *allow = node->allow;
        error_set(err, ERR_METHOD, "this path allows %s", node->allow);
        return NULL;
    }

    return node->routes[m];
}
