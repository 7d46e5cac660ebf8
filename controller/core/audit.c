/* Audit rows, written in the transaction of what they tell. */
#include "core.h"
#include "sql_core.h"

#include <stdlib.h>

CLEANUP_FUNC(json_text, char *, free)

static const char *const  categories[] = {
#define X(name, text)  [AUDIT_ ## name] = text,
    AUDIT_CATEGORIES(X)
#undef X
};

bool
audit_write(const struct core *c, enum audit_category category,
    const char *action, const char *resource_type, const char *resource_id,
    json_t *details, struct error *err)
{
    CLEANUP(json_text) char  *text = NULL;

    if (details && (text = json_dumps(details, JSON_COMPACT)) == NULL) {
        return error_set(err, ERR_INTERNAL, "out of memory");
    }

    return DB_RUN(c->db, err, SQL_AUDIT_ADD, c->actor, c->actor_type, action,
                  resource_type, resource_id, text,
                  categories[category]);
}
