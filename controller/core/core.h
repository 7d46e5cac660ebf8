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

/* What an audit row is about: its event_category. */
#define AUDIT_CATEGORIES(X)                                                   \
    X(CERT_LIFECYCLE, "cert_lifecycle")                                       \
    X(AUTH, "auth")                                                           \
    X(CONFIG, "config")

enum audit_category {
    AUDIT_NONE,             /* no audit rows */
#define X(name, text)  AUDIT_ ## name,
    AUDIT_CATEGORIES(X)
#undef X
};

/*
 * One audit row, in the caller's transaction.  details is borrowed, may be NULL.
 */
bool audit_write(const struct core *c, enum audit_category category,
    const char *action, const char *resource_type, const char *resource_id, json_t *details,
    struct error *err);
