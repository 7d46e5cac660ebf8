/* What core functions work with: a connection, the sealing key, who asks. */
#pragma once
#include "db.h"
#include "error.h"
#include "seal.h"
#include <jansson.h>
#include <stdbool.h>

struct core {
    struct db          *db;
    const struct seal  *seal;
    const char         *actor;         /* for audit rows and approvals */
    const char         *actor_type;
};

/*
 * One audit row, in the caller's transaction.  details is borrowed, may be NULL.
 */
bool audit_write(const struct core *c, const char *action,
    const char *resource_type, const char *resource_id, json_t *details,
    struct error *err);
