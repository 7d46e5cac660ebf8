/* Audit rows, written in the transaction of what they tell. */
#include "core.h"

#include <stdlib.h>
#include <string.h>

CLEANUP_FUNC(json_text, char *, free)

/* What is not about certificates. */
static const struct { const char *resource_type, *category; } categories[] = {
    { "api_key", "auth" },
    { "issuer", "config" },
    { "organization", "config" },
    { "owner", "config" },
    { "profile", "config" },
    { "renewal_policy", "config" },
    { "target", "config" },
    { "team", "config" },
};

static const char *
audit_category(const char *resource_type)
{
    for (size_t i = 0; i < sizeof(categories) / sizeof(categories[0]); i++) {
        if (strcmp(categories[i].resource_type, resource_type) == 0) {
            return categories[i].category;
        }
    }

    return "cert_lifecycle";
}

bool
audit_write(const struct core *c, const char *action, const char *resource_type,
    const char *resource_id, json_t *details, struct error *err)
{
    CLEANUP(json_text) char  *text = NULL;

    if (details && (text = json_dumps(details, JSON_COMPACT)) == NULL) {
        return error_set(err, ERR_INTERNAL, "out of memory");
    }

    return DB_RUN(c->db, err, SQL_AUDIT_ADD, c->actor, c->actor_type, action,
                  resource_type, resource_id, text,
                  audit_category(resource_type));
}
