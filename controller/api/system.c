/* Whether the daemon lives, can work, and which one it is. */
#include "api.h"
#include "resource_fields.h"
#include "sql_resource.h"
#include "wire.h"

#include <openssl/crypto.h>
#include <string.h>

#ifndef CERTCTL_COMMIT
#define CERTCTL_COMMIT  "unknown"
#endif

static const struct field  health_fields[] = {
    FIELD_READ("status", T_TEXT, "healthy"), { 0 }
};

const struct resource  health_resource = {
    .name = "system", .schema = "Health", .fields = health_fields
};

static const struct field  ready_fields[] = {
    FIELD_READ("status", T_TEXT, "ready"),
    FIELD_READ("db", T_TEXT, "reachable"),
    { 0 }
};

const struct resource  ready_resource = {
    .name = "system", .schema = "Ready", .fields = ready_fields
};

static const struct field  version_fields[] = {
    FIELD_READ("version", T_TEXT, "of certctld"),
    FIELD_READ("commit", T_TEXT, "it was built from"),
    FIELD_READ("modified", T_BOOL, "built from more than that"),
    FIELD_READ("build_time", T_TEXT, "not kept: builds are reproducible"),
    FIELD_READ("openssl_version", T_TEXT, "that is loaded"),
    { 0 }
};

const struct resource  version_resource = {
    .name = "system", .schema = "Version", .fields = version_fields
};

static const struct field  problem_fields[] = {
    FIELD_READ("type", T_TEXT, "the type of errors, as their member \"type\" has it"),
    FIELD_READ("title", T_TEXT, "in short"),
    FIELD_READ("status", T_INT, "HTTP status"),
    FIELD_READ("detail", T_TEXT, "when it is answered"),
    { 0 }
};

const struct resource  problem_resource = {
    .name = "system", .schema = "ProblemType", .fields = problem_fields
};

bool
problem_get(struct request *r)
{
    CLEANUP(json) json_t   *answer = NULL;
    const struct err_info  *info;

    for (int e = ERR_NONE + 1; e < ERR__MAX; e++) {
        info = &err_infos[e];

        if (strcmp(info->type, r->args[0]) == 0) {
            answer = json_pack("{s:s+, s:s, s:i, s:s}", "type", REST_PROBLEMS "/",
                               info->type, "title", info->title, "status",
                               info->http_status, "detail", info->when);
            return rest_reply_json(r, answer);
        }
    }

    return error_set(&r->err, ERR_NOT_FOUND, "there is no such type of errors");
}

bool
health(struct request *r)
{
    CLEANUP(json) json_t  *answer = json_pack("{s:s}", "status", "healthy");

    return rest_reply_json(r, answer);
}

bool
ready(struct request *r)
{
    CLEANUP(json) json_t  *answer = NULL;
    CLEANUP(mem) char     *one = DB_VALUE(r->db, &r->err, SQL_REST_READY);

    if (one == NULL) {
        return error_set(&r->err, ERR_UNAVAILABLE, "db_unavailable");
    }

    answer = json_pack("{s:s s:s}", "status", "ready", "db", "reachable");

    return rest_reply_json(r, answer);
}

bool
version(struct request *r)
{
    CLEANUP(json) json_t  *answer = NULL;

    answer = json_pack("{s:s s:s s:b s:s s:s}", "version", CERTCTL_VERSION,
                       "commit", CERTCTL_COMMIT, "modified", 0, "build_time", "",
                       "openssl_version", OpenSSL_version(OPENSSL_VERSION_STRING));

    return rest_reply_json(r, answer);
}
