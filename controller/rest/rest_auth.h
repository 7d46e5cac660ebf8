/* Who asks: API keys, their permissions, and the price of guessing. */
#pragma once
#include "rest.h"
#include <netinet/in.h>

struct auth;

/* One per thread: what was looked up in the last two seconds. */
struct auth *auth_new(void);
void auth_free(struct auth *auth);

/*
 * Fills r->actor, actor_type and identity from the Authorization header, or as
 * anonymous when r->open.  UNAUTHORIZED, THROTTLED after too many failures from
 * peer, FORBIDDEN when the route's permission is lacking.
 */
bool auth_request(struct auth *auth, struct request *r, const char *peer);

/* Whether the asker's permissions hold this one, or this "cert.*" as a whole. */
bool auth_may(const struct request *r, const char *permission);

/* For answers: the permissions as they were granted, and the key's id. */
json_t *auth_permissions(const struct request *r);
const char *auth_key_id(const struct request *r);
