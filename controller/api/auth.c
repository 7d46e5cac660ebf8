/* API keys, and what a caller may ask about its own. */
#include "api.h"
#include "api_key.h"
#include "conf.h"
#include "resource_fields.h"
#include "rest_auth.h"
#include "sql_api_key.h"

#include <string.h>

static const struct field  key_fields[] = {
    FIELD_ID,
    { "name", T_TEXT, F_REQUIRED | F_FIXED, 1, 100, .pattern = "(?! )[A-Za-z0-9._@ -]*[A-Za-z0-9._@-]",
      .help = "shown as the actor in audit rows" },
    { "permissions", T_TEXTS, F_REQUIRED | F_FIXED, 1, 100, 64,
      .pattern = "\\*|[a-z_.]+(\\.\\*)?",
      .help = "*, cert.*, cert.read: never more than the asker's own" },
    { "expires_at", T_TIME, F_FIXED | F_NULL, .help = "never, unless set" },
    { "key", T_TEXT, F_READ | F_RARE, .help = "the key itself: in the answer that makes it only" },
    FIELD_READ("last_used_at", T_TIME, "to the minute"),
    FIELD_READ("revoked_at", T_TIME, "revocation"),
    FIELD_READ("created_by", T_TEXT, "who made it"),
    FIELD_CREATED_AT,
    { 0 }
};

static const struct sort  key_sorts[] = {
    { "name", "name" }, { "created_at", "created_at" },
    { "createdAt", "created_at" }, { 0 }
};

const struct resource  api_key_resource = {
    .name = "api_key", .category = AUDIT_AUTH, .schema = "APIKey", .fields = key_fields,
    .view = "api_auth_keys", .sorts = key_sorts, .delete = SQL_API_KEY_REVOKE
};

static const struct field  check_fields[] = {
    FIELD_READ("status", T_TEXT, "authenticated"),
    FIELD_READ("user", T_TEXT, "the key's name"),
    FIELD_READ("actor_id", T_TEXT, "as audit rows name it"),
    FIELD_READ("actor_type", T_TEXT, "APIKey or Anonymous"),
    FIELD_READ("key_id", T_TEXT, "of the key"),
    FIELD_READ("tenant_id", T_TEXT, "default"),
    FIELD_READ("admin", T_BOOL, "may do everything"),
    FIELD_READ("roles", T_TEXTS, "none yet"),
    FIELD_READ("effective_permissions", T_ROWS, "what it may do"),
    { 0 }
};

const struct resource  auth_check_resource = {
    .name = "api_key", .schema = "AuthCheck", .fields = check_fields
};

static const struct field  info_fields[] = {
    FIELD_READ("auth_type", T_TEXT, "api-key or none"),
    FIELD_READ("required", T_BOOL, "a key is needed"),
    FIELD_READ("oidc_providers", T_TEXTS, "none yet"),
    { 0 }
};

const struct resource  auth_info_resource = {
    .name = "api_key", .schema = "AuthInfo", .fields = info_fields
};

/* A word that no route asks for is a mistake in spelling. */
static bool
permission_known(const struct route *route, const char *permission)
{
    size_t  len = strlen(permission);
    bool    family = len > 2 && strcmp(permission + len - 2, ".*") == 0;

    for ( ; route->path; route++) {
        if (family ? strncmp(route->permission, permission, len - 1) == 0
                   : strcmp(route->permission, permission) == 0)
        {
            return true;
        }
    }

    return strcmp(permission, "*") == 0;
}

static bool
permissions_allowed(struct request *r)
{
    json_t      *item;
    size_t       i;
    const char  *permission;

    json_array_foreach(json_object_get(r->body, "permissions"), i, item) {
        permission = json_string_value(item);

        if (!permission_known(r->ctx->routes, permission)) {
            return error_set(&r->err, ERR_INVALID,
                             "permissions: no route needs \"%s\"", permission);
        }

        if (!auth_may(r, permission)) {
            return error_set(&r->err, ERR_FORBIDDEN, "permissions: this key does "
                             "not hold \"%s\" itself", permission);
        }
    }

    return true;
}

static bool
key_answer(struct request *r, const char *id, const char *key)
{
    CLEANUP(mem) char     *text = resource_text(r, &api_key_resource, id);
    CLEANUP(json) json_t  *answer = text ? json_loads(text, 0, NULL) : NULL;

    if (answer == NULL) {
        return false;
    }

    json_object_set_new(answer, "key", json_string(key));
    rest_header(r, "Cache-Control", "no-store");
    r->status = 201;

    return rest_reply_json(r, answer);
}

bool
api_key_create(struct request *r)
{
    CLEANUP(mem) char  *text = NULL, *id = NULL;
    char                key[API_KEY_MAX], hash[65];
    bool                ok;

    if (!resource_check(r, key_fields, NULL) || !permissions_allowed(r)
        || !api_key_make(key, &r->err))
    {
        return false;
    }

    api_key_hash(key, hash);
    text = json_dumps(r->body, JSON_COMPACT);
    id = DB_VALUE(r->db, &r->err, SQL_API_KEY_ADD, text, hash, r->actor);
    ok = id != NULL && key_answer(r, id, key);
    OPENSSL_cleanse(key, sizeof(key));

    if (ok) {
        r->subject = TAKE(id);
        r->details = json_deep_copy(r->body);
    }

    return ok;
}

bool
auth_check(struct request *r)
{
    CLEANUP(json) json_t  *permissions = auth_permissions(r), *answer = NULL;
    json_t                *effective = json_array(), *permission;
    size_t                 i;
    bool                   admin = auth_may(r, "*");

    json_array_foreach(permissions, i, permission) {
        json_array_append_new(effective, json_pack("{s:O s:s}", "permission",
                              permission, "scope_type", "global"));
    }

    answer = json_pack("{s:s s:s s:s s:s s:s s:s s:b s:[] s:o}", "status",
                       "authenticated", "user", r->actor, "actor_id", r->actor,
                       "actor_type", r->actor_type, "key_id", auth_key_id(r),
                       "tenant_id", "default", "admin", admin, "roles",
                       "effective_permissions", effective);

    return rest_reply_json(r, answer);
}

bool
auth_info(struct request *r)
{
    CLEANUP(json) json_t  *answer = NULL;

    answer = json_pack("{s:s s:b s:[]}", "auth_type", r->open ? "none" : "api-key",
                       "required", !r->open, "oidc_providers");

    return rest_reply_json(r, answer);
}
