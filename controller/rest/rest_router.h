/* From method and path to a route, in time that does not grow with the map. */
#pragma once
#include "rest.h"
#include "rest_text.h"

struct router;

/* A tree of the routes that have all of flags; NULL: two routes collide, or a
 * path has more than REST_ARGS_MAX arguments. */
struct router *router_new(const struct route *routes, int flags,
    struct error *err);
void router_free(struct router *router);

/*
 * NULL with NOT_FOUND, METHOD (*allow is then the header's value) or what
 * text_decode() says.  HEAD finds GET.  args point into room.
 */
const struct route *router_find(const struct router *router,
    const char *method, const char *path, struct text_room *room,
    const char *args[REST_ARGS_MAX], const char **allow, struct error *err);
